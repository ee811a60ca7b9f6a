"""What the first responses say about the configuration: figures, and what to change where they are odd."""

from __future__ import annotations

import pandas as pd

from apo_core.verifiers.base import shortened

_MANY = 0.5  # a share of responses
_LOW, _HIGH = 0.02, 0.98  # mean rewards from which there is little to learn
_SHOWN = 5


def short_form(samples: pd.DataFrame) -> str:
    """Mean reward and shares of the responses that were cut off, unread or failed, in a line.

    Args:
        samples: rows of `tables.SAMPLES`.
    """
    mean = samples["reward"].mean()
    shares = {
        "cut off": (samples["finish_reason"] == "length").mean(),
        "without an answer that was read": _unread(samples).mean(),
        "failed on by the verifier": samples["reward"].isna().mean(),
    }
    rest = ", ".join(f"{share:.1%} {what}" for what, share in shares.items())
    return f"{len(samples)} responses, mean reward {mean:.3f}: {rest}"


def hints(samples: pd.DataFrame, *, max_new_tokens: int) -> list[str]:
    """What to look at or to change; none where the responses look as they should.

    Args:
        samples: rows of `tables.SAMPLES`.
        max_new_tokens: the longest response.
    """
    lines = []
    cut = (samples["finish_reason"] == "length").mean()
    unread = _unread(samples)
    mean = samples["reward"].mean()
    if cut >= _MANY:
        lines.append(
            f"{cut:.0%} of the responses are cut off: raise generation.max_new_tokens ({max_new_tokens})"
        )
    if unread.mean() >= _MANY:
        reason = samples.loc[unread, "reason"].mode()[0]
        lines.append(f"{unread.mean():.0%} hold no answer, mostly: {reason}; see verifier.extract")
    if mean < _LOW:
        lines.append(f"the mean reward is {mean:.3f}: hardly any prompt can be learned from. Five responses:")
        lines += _examples(samples)
    if mean > _HIGH:
        lines.append(f"the mean reward is {mean:.3f}: there is hardly anything to learn; take harder prompts")
    return lines


def _unread(samples: pd.DataFrame) -> pd.Series:
    return samples["reward"].notna() & samples["extracted"].isna()


def _examples(samples: pd.DataFrame) -> list[str]:
    """A few responses, evenly from all, with the end of each and why it has its reward."""
    scored = samples.dropna(subset=["reward"])
    count = min(_SHOWN, len(scored))
    rows = scored.iloc[[index * len(scored) // count for index in range(count)]]
    columns = ("prompt_id", "sample_index", "reward", "reason", "text")
    return [
        f"  {prompt_id}/{index}: reward {reward:g} ({reason}): ...{shortened(text[-60:])}"
        for prompt_id, index, reward, reason, text in zip(*(rows[name] for name in columns), strict=True)
    ]
