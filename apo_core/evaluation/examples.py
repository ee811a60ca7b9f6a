"""Example responses for readers: right and wrong, of the reference policy and of the policy."""

from __future__ import annotations

from typing import NamedTuple

import pandas as pd


class Kind(NamedTuple):
    """A kind of change between the greedy responses of both models, with some example prompts."""

    name: str
    prompts: int  # number of prompts of the kind
    # Columns: set, prompt, answer, and text and reward of both models (reference, reference_reward, ...).
    shown: pd.DataFrame


_KINDS = {
    (False, True): "Gained: wrong before, right after",
    (True, False): "Lost: right before, wrong after",
    (False, False): "Still wrong",
    (True, True): "Still right",
}
_COLUMNS = ["set", "prompt", "answer", "reference", "reference_reward", "policy", "policy_reward"]


def choose_examples(rows: pd.DataFrame, prompts: pd.DataFrame, *, show: int) -> list[Kind]:
    """Choose some greedy responses of each kind.

    The first prompts by prompt_id are chosen. The id is a hash, so they are a random sample of their kind,
    the same every time and independent of the order of the files.

    Args:
        rows: table `tables.EVALUATIONS`. A response is right if its reward is 1; responses that the
            verifier failed on are left out.
        prompts: table `tables.PROMPTS`.
        show: maximum number of each kind.
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
