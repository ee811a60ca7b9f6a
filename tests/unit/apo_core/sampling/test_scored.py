from pathlib import Path

import pytest

from apo_core.model.template import Template
from apo_core.sampling import Response, TransformersSampler
from apo_core.sampling.scored import GREEDY_INDEX, Question, sample_questions, score_samples
from apo_core.verifiers import InProcess, make_verifier

NUMERIC = make_verifier("numeric", ("last",), Path())
EXACT = make_verifier("exact", ("whole",), Path())
QUESTIONS = [
    Question("a", "1+1=", "2", "{}"),
    Question("b", "7+5-3=", "9", "{}"),
    Question("c", "4=", "4", "{}"),
]


def sampled_and_scored(questions, indices, key, *, sampler, tokenizer, scorer):
    samples = sample_questions(
        questions,
        indices,
        sampler=sampler,
        template=Template(tokenizer, style="raw", text="{prompt}", system=None),
        max_new_tokens=10,
        temperature=1.0,
        key=key,
    )
    return score_samples(samples, scorer, max_new_tokens=10)


@pytest.fixture
def sample_scored(decoder, tokenizer):
    sampler = TransformersSampler(decoder, eos_ids={1}, pad_id=0, batch_size=4)

    def scored(questions, indices, key, verifier=NUMERIC):
        return sampled_and_scored(
            questions, indices, key, sampler=sampler, tokenizer=tokenizer, scorer=InProcess(verifier)
        )

    return scored


def test_rows_are_in_order_and_scored_on_their_own_text(sample_scored, tokenizer):
    rows = sample_scored(QUESTIONS, range(3), "stage/0")
    assert [(row.question.prompt_id, row.sample_index) for row in rows] == [
        (name, index) for name in "abc" for index in range(3)
    ]
    for row in rows:
        assert row.text == tokenizer.decode(row.response.token_ids, skip_special_tokens=True)
        verdict = NUMERIC.score(row.text, row.question.answer, {})
        assert (row.reward, row.extracted, row.reason, row.parts) == verdict
    assert len({row.text for row in rows}) > 3


def test_a_right_answer_is_rewarded(sample_scored):
    text = sample_scored(QUESTIONS[:1], [0], "stage/0", EXACT)[0].text
    rows = sample_scored(
        [Question("a", "1+1=", text, "{}"), Question("a", "1+1=", text + "0", "{}")], [0], "stage/0", EXACT
    )
    assert [row.reward for row in rows] == [1.0, 0.0]


def test_a_questions_samples_do_not_depend_on_its_neighbours(sample_scored):
    whole = sample_scored(QUESTIONS, range(3), "stage/0")
    assert sample_scored(QUESTIONS[1:2], range(3), "stage/0") == whole[3:6]
    assert sample_scored(QUESTIONS, range(2), "stage/0") == [row for row in whole if row.sample_index < 2]


def test_samples_from_a_later_index_on_are_those_of_a_longer_run(sample_scored):
    """As adaptive sampling asks for them: with the first ones of the run before, no sample twice."""
    whole = sample_scored(QUESTIONS, range(5), "stage/0")
    later = sample_scored(QUESTIONS, range(3, 5), "stage/0")
    assert [row.sample_index for row in later] == [3, 4] * 3
    assert later == [row for row in whole if row.sample_index >= 3]


class Sampler:
    """Answers with texts of growing length, of which it may lose the last."""

    def __init__(self, lost=0):
        self.lost = lost

    def generate(self, prompts, keys, **limits):
        responses = [Response([4] * (at + 1), "stop") for at in range(len(prompts))]
        return responses[: len(prompts) - self.lost]


class Scorer(InProcess):
    """Notes what it is asked for, and may lose the last verdict."""

    def __init__(self, lost=0):
        super().__init__(NUMERIC)
        self.lost = lost

    def score(self, attempts):
        self.attempts = attempts
        return super().score(attempts)[: len(attempts) - self.lost]


def scored_by(tokenizer, sampler, scorer):
    return sampled_and_scored(
        QUESTIONS, range(2), "stage/0", sampler=sampler, tokenizer=tokenizer, scorer=scorer
    )


def test_the_verifier_is_asked_about_every_response_with_its_length_and_the_limit(tokenizer):
    scorer = Scorer()
    assert len(scored_by(tokenizer, Sampler(), scorer)) == 6
    assert [(attempt.answer, attempt.tokens, attempt.max_tokens) for attempt in scorer.attempts] == [
        (answer, tokens, 10) for tokens, answer in enumerate("229944", start=1)
    ]


@pytest.mark.parametrize(("sampler", "scorer"), [(Sampler(lost=1), Scorer()), (Sampler(), Scorer(lost=1))])
def test_no_response_and_no_verdict_is_lost_in_silence(tokenizer, sampler, scorer):
    with pytest.raises(ValueError, match="zip"):
        scored_by(tokenizer, sampler, scorer)


def test_another_key_draws_other_samples(sample_scored):
    first, second = (sample_scored(QUESTIONS, range(3), key) for key in ("stage/0", "stage/1"))
    assert [row.text for row in first] != [row.text for row in second]


def test_the_greedy_response_is_sampled_among_the_others(sample_scored):
    rows = sample_scored(QUESTIONS, [GREEDY_INDEX, 0, 1], "stage/0")
    assert [row.sample_index for row in rows] == [-1, 0, 1] * 3
    greedy = sample_scored(QUESTIONS, [GREEDY_INDEX], "another key")
    assert rows[::3] == greedy
    assert [row for row in rows if row.sample_index >= 0] == sample_scored(QUESTIONS, range(2), "stage/0")
    assert [row.text for row in greedy] != [row.text for row in rows[1::3]]
