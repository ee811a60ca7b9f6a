"""Gold answers of public data sets: each is right for its own problem, and wrong for its neighbour's."""

import json
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest
from builders import ROOT

from apo_core.verifiers import Attempt, make_verifier, open_scorer

DATA = ROOT.parent / "shared/data"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"public data is not at {DATA}")
COMPETITIONS = ("amc23", "aime24")
LENIENT = {"gsm8k": ("hashes", "last"), "numeric": ("hashes", "boxed", "last"), "math": ("boxed", "last")}


def rows_of(name):
    lines = (DATA / name).read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


@pytest.fixture(scope="module", params=["gsm8k", "numeric", "math"])
def scorer(request):
    name = request.param
    verifier = make_verifier(name, LENIENT[name], Path())
    with open_scorer(verifier, workers=2, time_limit_seconds=10.0, memory_limit_mib=2048) as pool:
        pool.name = name
        yield pool


def rewards(scorer, pairs):
    verdicts = scorer.score([Attempt(completion, answer, "{}") for completion, answer in pairs])
    for (completion, answer), verdict in zip(pairs, verdicts, strict=True):
        assert verdict.reward is not None, (completion, answer, verdict.reason)
    return [verdict.reward for verdict in verdicts]


def behind_hashes(solution):
    """The number after `####`, read independently of the verifiers."""
    return Fraction(solution.split("####")[1].strip().replace(",", "").replace("$", ""))


@pytest.mark.parametrize(
    ("part", "count"), [pytest.param("train", 7473, marks=pytest.mark.production), ("test", 1319)]
)
def test_every_gsm8k_solution_is_right_and_the_next_problems_answer_is_wrong(scorer, part, count):
    solutions = [row["answer"] for row in rows_of(f"gsm8k/{part}.jsonl")]
    assert len(solutions) == count
    if scorer.name == "math":  # a solution is prose: what is scored is its last line, as a model boxes it
        numbers = [solution.split("####")[1].strip() for solution in solutions]
        solutions, answers = [rf"So it is $\boxed{{{number}}}$." for number in numbers], numbers
    else:
        answers = solutions
    assert scorer.answer_problems([Attempt("", answer, "{}") for answer in answers]) == [None] * count
    assert rewards(scorer, zip_pairs(solutions, answers)) == [1.0] * count
    next_answers = answers[1:] + answers[:1]
    golds = [behind_hashes(row["answer"]) for row in rows_of(f"gsm8k/{part}.jsonl")]
    equal = [gold == neighbour for gold, neighbour in zip(golds, golds[1:] + golds[:1], strict=True)]
    assert rewards(scorer, zip_pairs(solutions, next_answers)) == [float(same) for same in equal]
    print(f"gsm8k/{part} by {scorer.name}: {count} right; next answer equal by accident: {sum(equal)}")


def zip_pairs(completions, answers):
    return list(zip(completions, answers, strict=True))


def ways(number):
    """How models write an integer answer: the first six for every verifier, the others for `math`."""
    grouped = f"{number:,}"
    return [
        rf"Thus the answer is $\boxed{{{number}}}$.",
        rf"\boxed{{{number}.0}}",
        rf"We get \[ \boxed{{{grouped}}} \] and are done.",
        f"Adding up, the total comes to {grouped}",
        rf"$$\boxed{{ {number} }}$$",
        rf"\boxed{{{number}\text{{ miles}}}}, which took 3 hours and 2 stops.",
        rf"So $n = \boxed{{\frac{{{2 * number}}}{{2}}}}$ after simplifying.",
        rf"\(\boxed{{\dfrac{{{3 * number}}}{{3}}\,\mathrm{{cm}}}}\)",
        rf"\boxed{{\,{grouped.replace(',', '{,}')}\;}}",
        rf"\boxed{{\textbf{{(C) }}\ {grouped.replace(',', chr(92) + ',')}}} is the choice that fits.",
    ]


@pytest.mark.parametrize("name", COMPETITIONS)
def test_every_competition_answer_is_right_in_the_ways_models_write_it(scorer, name):
    if scorer.name == "gsm8k":
        pytest.skip("gsm8k's answers carry ####, those of competitions do not")
    answers = [str(row["answer"]) for row in rows_of(f"{name}/test.jsonl")]  # 27.0 in AMC23, "025" in AIME24
    numbers = [int(Decimal(answer)) for answer in answers]
    assert numbers == [Decimal(answer) for answer in answers]
    count = 10 if scorer.name == "math" else 6
    assert scorer.answer_problems([Attempt("", answer, "{}") for answer in answers]) == [None] * len(answers)
    pairs = [
        (way, answer) for number, answer in zip(numbers, answers, strict=True) for way in ways(number)[:count]
    ]
    scores = rewards(scorer, pairs)
    assert not [pair for pair, reward in zip(pairs, scores, strict=True) if reward != 1.0]
    next_answers = answers[1:] + answers[:1]
    wrong = [
        (way, other)
        for number, other in zip(numbers, next_answers, strict=True)
        for way in ways(number)[:count]
    ]
    equal = [
        Decimal(answer) == Decimal(other)
        for answer, other in zip(answers, next_answers, strict=True)
        for _ in range(count)
    ]
    assert rewards(scorer, wrong) == [float(same) for same in equal]
    print(f"{name} by {scorer.name}: {len(pairs)} right of {len(answers)} answers in {count} ways; "
          f"next answer equal by accident: {sum(equal) // count}")  # fmt: skip


@pytest.mark.parametrize("name", COMPETITIONS)
def test_a_strict_rule_takes_the_box_only(name):
    with open_scorer(
        make_verifier("math", ("boxed",), Path()), workers=2, time_limit_seconds=10.0, memory_limit_mib=2048
    ) as scorer:
        scorer.name = "math"
        for row in rows_of(f"{name}/test.jsonl"):
            number = int(Decimal(str(row["answer"])))
            texts = [f"The answer is {number}", rf"\boxed{{{number}}}", rf"\boxed{{{number}}}. Or \boxed{{"]
            assert rewards(scorer, [(text, str(number)) for text in texts]) == [0.0, 1.0, 0.0]
