import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apo_core.data.pool import choose, collect, first_of_each
from apo_core.data.prompts import Prompt, prompt_id
from apo_core.tables import PROMPTS, read_table


def prompt(text, split="train"):
    return Prompt(prompt_id(text), text, "1", "{}", f"f:{text}", split, "f")


def everything(count):
    return np.ones(count, dtype=np.bool_)


def all_fit(asked):
    return np.zeros_like(asked)


IDS = np.array([int(prompt_id(str(number)), 16) for number in range(300)], dtype=np.uint64)


def test_rows_lie_on_the_disk_and_their_hashes_in_memory(tmp_path):
    prompts = [prompt("1 + 1?"), prompt("ONE+1"), prompt("1+2", "eval"), *map(prompt, "abc" * 900)]
    pool = collect(iter(prompts), tmp_path / "pool.parquet")
    assert list(read_table(pool.file, PROMPTS)["prompt"]) == [row.prompt for row in prompts]
    assert pool.ids.tolist()[:2] == [int(prompt_id("1 + 1?"), 16), int(prompt_id("ONE+1"), 16)]
    assert pool.forms[0] == pool.forms[1] != pool.forms[2]
    assert pool.evaluation.tolist()[:4] == [False, False, True, False]
    assert list(pool.rows(pool.evaluation, "prompt", "split")) == [(2, "1+2", "eval")]
    last = np.arange(len(prompts)) == len(prompts) - 1
    assert list(pool.rows(last, "prompt")) == [(2702, "c")]


def test_the_first_of_each_hash_is_kept():
    hashes = np.array([5, 7, 5, 7, 5], dtype=np.uint64)
    assert first_of_each(hashes, everything(5)).tolist() == [True, True, False, False, False]
    among = np.array([False, True, True, True, True])
    assert first_of_each(hashes, among).tolist() == [False, True, True, False, False]


def test_a_choice_is_seeded_and_does_not_depend_on_the_order():
    chosen = choose(IDS, everything(300), 30, "3", all_fit)
    assert chosen.sum() == 30
    backwards = choose(IDS[::-1].copy(), everything(300), 30, "3", all_fit)
    assert backwards[::-1].tolist() == chosen.tolist()
    assert choose(IDS, everything(300), 30, "4", all_fit).tolist() != chosen.tolist()


def test_rows_that_are_added_only_displace_others():
    few, many = (choose(IDS[:size], everything(size), 30, "3", all_fit) for size in (200, 300))
    stayed = few & many[:200]
    assert set(np.flatnonzero(many[:200])) <= set(np.flatnonzero(few))
    assert 30 - stayed.sum() == many[200:].sum()


@given(st.integers(1, 40), st.sets(st.integers(0, 59)))
def test_what_is_unfit_is_made_up_for_by_the_next(count, unfit):
    """The choice is as if unfit prompts were absent, and only prompts that are needed are checked."""
    bad = np.isin(np.arange(60), list(unfit))
    asked_about = np.zeros(60, dtype=np.bool_)

    def find_unfit(asked):
        assert not (asked & asked_about).any()
        asked_about[asked] = True
        return bad & asked

    if count > 60 - len(unfit):
        with pytest.raises(ValueError, match=f"{count} prompts are asked for, there are {60 - len(unfit)}"):
            choose(IDS[:60], everything(60), count, "0", find_unfit)
        return
    chosen = choose(IDS[:60], everything(60), count, "0", find_unfit)
    assert chosen.tolist() == choose(IDS[:60], ~bad, count, "0", all_fit).tolist()
    assert (asked_about & ~bad).tolist() == chosen.tolist()


def test_all_that_are_fit_can_be_chosen():
    bad = np.arange(300) < 100
    assert choose(IDS, everything(300), None, "0", lambda asked: asked & bad).tolist() == (~bad).tolist()
    assert not choose(IDS, everything(300), None, "0", lambda asked: asked).any()
