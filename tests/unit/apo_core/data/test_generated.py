import json

import pytest

from apo_core.data.generated import generated_rows
from apo_core.data.streams import generated_prompts
from apo_core.errors import ApoError

pytest.importorskip("reasoning_gym", reason="reasoning-gym is not installed")


def questions(split, seed, count=60):
    return [row["question"] for _, row in generated_rows("chain_sum", split, count, seed)]


def test_a_stream_is_seeded_and_its_questions_differ():
    assert questions("train", 0) == questions("train", 0)
    assert len(set(questions("train", 0))) == 60
    assert questions("train", 0)[:10] == questions("train", 0, count=10)
    assert not set(questions("train", 0)) & set(questions("train", 1))


@pytest.mark.slow
def test_training_and_evaluation_never_overlap():
    """A task with few distinct questions gives all of them."""
    train, held_out = (
        {row["question"] for _, row in generated_rows("coin_flip", split, 200, seed=seed)}
        for split, seed in (("train", 0), ("eval", 1))
    )
    assert train
    assert held_out
    assert not train & held_out


def test_the_entry_is_the_row():
    (prompt,) = generated_prompts("chain_sum", "eval", 1, seed=0)
    entry = json.loads(prompt.row)
    assert set(entry) == {"question", "answer", "metadata"}
    assert (prompt.prompt, prompt.answer, prompt.split, prompt.set) == (
        entry["question"],
        entry["answer"],
        "eval",
        "chain_sum",
    )
    assert prompt.source.startswith("reasoning_gym:chain_sum:")


def test_an_unknown_task_is_refused():
    with pytest.raises(ApoError, match="reasoning_gym:nonsense: there is no such task"):
        list(generated_rows("nonsense", "train", 1, 0))
