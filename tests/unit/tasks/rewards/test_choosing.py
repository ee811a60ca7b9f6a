"""Few of many prompts: every one with the same chance, and the same ones every time."""

import random

from apo_core.data.prompts import Prompt, prompt_id
from tasks.rewards.choosing import choose


def prompt(number, set_name="mine"):
    text = f"question {number}"
    return Prompt(prompt_id(text), text, "7", "{}", f"mine.jsonl:{number}", "train", set_name)


PROMPTS = [prompt(number) for number in range(2000)]


def test_the_same_prompts_are_chosen_in_the_order_of_their_files():
    chosen = choose(iter(PROMPTS), 200)
    assert (len(chosen.prompts), chosen.rows) == (200, 2000)
    assert chosen.prompts == sorted(chosen.prompts, key=PROMPTS.index)
    mixed = random.Random(0).sample(PROMPTS, len(PROMPTS))
    assert set(choose(mixed, 200).prompts) == set(chosen.prompts)


def test_every_part_of_a_file_has_its_share():
    halves = [PROMPTS.index(row) < 1000 for row in choose(PROMPTS, 400).prompts]
    assert 160 < sum(halves) < 240


def test_duplicates_are_taken_once_and_few_prompts_whole():
    few = [*PROMPTS[:3], *PROMPTS[:2]]
    chosen = choose(few, 4)
    assert (chosen.prompts, chosen.rows) == (PROMPTS[:3], 5)
    assert choose([], 4).prompts == []


def test_what_there_is_and_what_is_asked_for_are_of_all_prompts():
    rows = [*PROMPTS, prompt("of another file", "other")]
    last = rows[-1]
    chosen = choose(rows, 1, {last.prompt_id})
    assert chosen.kinds == {("mine", None): "mine.jsonl:0", ("other", None): last.source}
    assert chosen.asked == {last.prompt_id: last}
