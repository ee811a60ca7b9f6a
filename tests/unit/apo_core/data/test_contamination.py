"""Every disguised evaluation prompt is a match, and no prompt of the same template with other numbers."""

import json
import random
import re

import pytest
from builders import ROOT

from apo_core.data.contamination import EvaluationIndex, changed_words
from apo_core.data.normal_form import numbers_of, words_of

LONG = (
    "Natalia sold clips to 48 of her friends in April, and then she sold half as many clips in May. "
    "How many clips did Natalia sell altogether in April and May?"
)
SHORT = "Each ticket costs $9.00. How much do 4 tickets cost?"
OTHER = "Weng earns $12 an hour. Yesterday she did 50 minutes of babysitting. How much did she earn?"


@pytest.fixture(scope="module")
def index():
    return EvaluationIndex([OTHER, LONG, SHORT])


def matched_evaluations(index, prompt):
    return [match.evaluation for match in index.matches(prompt)]


@pytest.mark.parametrize(
    ("prompt", "why"),
    [
        (LONG.upper().replace(",", "").replace(" ", "\n"), "the same text"),
        ("Solve this with care. " + LONG, "13 words in a row and the same numbers: natalia sold clips"),
        (LONG + " Give 2 decimals.", "13 words in a row"),
        (LONG.replace("friends", "neighbours"), "13 words in a row"),
        (LONG.replace("Natalia", "Maria"), "13 words in a row"),
        (LONG.replace("half as", "as"), "13 words in a row"),
    ],
)
def test_a_long_prompt_is_seen_through_its_disguise(index, prompt, why):
    (match,) = index.matches(prompt)
    assert match.evaluation == 1
    assert match.why.startswith(why)


def test_a_number_in_words_is_no_disguise(index):
    for prompt in (LONG.replace("48", "forty-eight"), LONG.replace("half as", "1/2 as")):
        assert matched_evaluations(index, prompt) == [1]
        assert index.matches(prompt)[0].why.startswith("the same text")


@pytest.mark.parametrize(
    ("prompt", "why"),
    [
        ("each Ticket costs 9.00 how much do four tickets cost", "the same text"),
        ("Think first.\n" + SHORT, "it stands in the training prompt"),
        (SHORT + " Show your work, please.", "it stands in the training prompt"),
        (SHORT.replace("ticket ", "pencil "), "the same numbers and words, but pencil"),
    ],
)
def test_a_short_prompt_is_seen_through_its_disguise(index, prompt, why):
    (match,) = index.matches(prompt)
    assert match.evaluation == 2
    assert match.why.startswith(why.replace("pencil", "ticket for pencil"))


@pytest.mark.parametrize(
    "prompt",
    [
        LONG.replace("48", "72"),
        SHORT.replace("9.00", "8.00"),
        SHORT.replace("4", "5"),
        "Natalia sold clips to 48 of her friends. How many had half?",
        "",
        "?",
    ],
)
def test_other_numbers_or_half_of_the_words_are_another_problem(index, prompt):
    assert matched_evaluations(index, prompt) == []


def test_a_name_swapped_everywhere_is_one_change():
    first = words_of("Ann has 3 nuts. Ann's father gives Ann 5 more. How many nuts has Ann now in all?")
    second = words_of("Eve has 3 nuts. Eve's father gives Eve 5 more. How many nuts has Eve now in all?")
    assert changed_words(first, second) == [("ann", "eve")]


def test_without_numbers_a_changed_word_is_the_whole_difference():
    index = EvaluationIndex(["Who wrote the play about the prince of Denmark and his uncle?"])
    assert matched_evaluations(index, "Who wrote the play about the king of Denmark and his uncle?") == []


def test_a_chain_inside_a_longer_chain_is_another_problem():
    assert matched_evaluations(EvaluationIndex(["7+5="]), "1+7+5=") == []


def test_a_preamble_that_many_prompts_share_gives_none_of_them_away():
    preamble = "On this island knights always tell the truth and knaves always lie to every stranger. "
    statements = [
        "Zoe says Ben is a knave.",
        "Mia says Tom is odd.",
        "Ann calls Eve a knight.",
        "Leo doubts Max.",
    ]
    index = EvaluationIndex([preamble + statement for statement in statements])
    assert matched_evaluations(index, preamble + "Kim trusts Lee.") == []
    assert matched_evaluations(index, "Listen. " + preamble + statements[2]) == [2]


@pytest.mark.parametrize(("words", "matches"), [(26, [0]), (27, []), (28, [])])
def test_a_shared_run_has_to_make_up_half_of_the_words(words, matches):
    """13 words in a row are shared, of as many words on both sides."""
    shared = [f"s{letter}" for letter in "abcdefghijklm"]
    ours, theirs = ([f"{side}{chr(97 + at)}" for at in range(words - 13)] for side in "ot")
    index = EvaluationIndex([" ".join(shared + theirs)])
    assert matched_evaluations(index, " ".join(shared + ours)) == matches


def test_a_row_of_signs_is_no_run_of_words():
    index = EvaluationIndex(["What does +++++++++++++++> print?"])
    assert matched_evaluations(index, "Guess: +++++++++++++++< prints") == []


def test_many_words_in_a_row_are_no_single_change():
    words = words_of(LONG)
    assert changed_words(words, [*words[:8], "for", "no", "reason", "whatever", *words[12:]]) == []
    assert len(changed_words(words, [*words[:8], "for", "no", "reason", *words[11:]])) == 1


def test_one_prompt_may_give_several_away_each_once():
    index = EvaluationIndex([LONG, SHORT, LONG.lower()])
    assert matched_evaluations(index, f"{LONG} {SHORT}") == [0, 1, 2]
    assert matched_evaluations(index, LONG) == [0, 2]


def swapped_name(prompt):
    names = re.findall(r"(?<=[a-z,] )[A-Z][a-z]{2,}", prompt)
    return re.sub(rf"\b{names[0]}\b", "Zelda", prompt) if names else None


def with_another_word(prompt, rng):
    words = prompt.split(" ")
    plain = [at for at, word in enumerate(words) if word.isalpha() and not numbers_of(words_of(word))]
    words[rng.choice(plain)] = "zebra"
    return " ".join(words)


def test_all_planted_near_copies_are_found_and_nothing_else_among_5000_clean_prompts():
    """GSM8K's test set is the evaluation, and its training set is clean."""
    data = ROOT.parent / "shared/data/gsm8k"
    if not data.is_dir():
        pytest.skip(f"GSM8K is not in {data}")
    train, test = (
        [json.loads(line)["question"] for line in (data / f"{name}.jsonl").read_text().splitlines()]
        for name in ("train", "test")
    )
    rng = random.Random(0)
    chosen = [at for at in rng.sample(range(len(test)), 400) if swapped_name(test[at])][:20]
    assert len(chosen) == 20
    disguises = (
        lambda text: text.upper().replace(".", " ;").replace(" ", "  "),
        lambda text: f"Here is a problem for grade 5. {text}",
        lambda text: f"{text} Answer with a number only.",
        lambda text: with_another_word(text, rng),
        swapped_name,
    )
    planted = {disguises[turn % 5](test[at]): at for turn, at in enumerate(chosen)}
    index = EvaluationIndex(test)
    prompts = [*train[:5000], *planted]
    rng.shuffle(prompts)
    pairs = {prompt: matched_evaluations(index, prompt) for prompt in prompts}
    assert {prompt: at for prompt, at in pairs.items() if at} == {text: [at] for text, at in planted.items()}
