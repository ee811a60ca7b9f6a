"""Responses for people to read: right and wrong, of the reference and of the policy."""

from __future__ import annotations

from typing import NamedTuple

import pandas as pd


class Kind(NamedTuple):
    """Prompts on which the greedy responses of the two went alike, and some of them."""

    name: str
    prompts: int
    shown: (
        pd.DataFrame
    )  # set, prompt, answer; text and reward of either model: reference, reference_reward, ...


_KINDS = {
    (False, True): "Gained: wrong before, right after",
    (True, False): "Lost: right before, wrong after",
    (False, False): "Still wrong",
    (True, True): "Still right",
}
_COLUMNS = ["set", "prompt", "answer", "reference", "reference_reward", "policy", "policy_reward"]


def choose_examples(rows: pd.DataFrame, prompts: pd.DataFrame, *, show: int) -> list[Kind]:
    """Some greedy responses of each kind.

    Nobody chooses: the first by prompt_id, a hash, are a sample of their kind that is the same every time and
    has nothing to do with the order of the files.

    Args:
        rows: table `tables.EVALUATIONS`. A response is right if its reward is 1; those that the verifier
            failed on are left out.
        prompts: table `tables.PROMPTS`.
        show: at most so many of each kind.
    """
    greedy = rows[(rows["sample_index"] < 0) & rows["reward"].notna()]
    pairs = greedy.pivot(index="prompt_id", columns="policy", values=["text", "reward"]).dropna()  # sorted
    frame = pd.DataFrame(
        {
            "reference": pairs["text", "reference"],
            "reference_reward": pairs["reward", "reference"].astype(float),
            "policy": pairs["text", "policy"],
            "policy_reward": pairs["reward", "policy"].astype(float),
        }
    ).join(prompts.set_index("prompt_id")[["set", "prompt", "answer"]])
    before, after = frame["reference_reward"] >= 1, frame["policy_reward"] >= 1
    kinds = []
    for (was_right, is_right), name in _KINDS.items():
        own = frame[(before == was_right) & (after == is_right)]
        kinds.append(Kind(name, len(own), own.head(show)[_COLUMNS]))
    return kinds
