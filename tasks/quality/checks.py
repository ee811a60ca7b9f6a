"""The checks of the tables of prompts, samples and values."""

from __future__ import annotations

import math
from functools import cache

import great_expectations.expectations as gxe
import pandas as pd

from apo_core.values.pooled import Prior
from tasks.quality.expectations import Check

_RECOMPUTED_ROWS = 256
_COLUMN_TEXT = {
    "mean_reward": "the mean reward",
    "max_reward": "the largest reward",
    "nothing": "0",
    "everything": "1",
}


def prompt_checks(
    prompts: pd.DataFrame,
    *,
    tokens: list[int],
    prompt_problems: list[str | None],
    answer_problems: list[str | None],
    max_tokens: int,
) -> tuple[pd.DataFrame, list[Check]]:
    """The prompts table with derived columns, and its checks.

    Args:
        prompts: table `tables.PROMPTS`.
        tokens: of each prompt.
        prompt_problems: why a prompt is none for the model; None where nothing is wrong.
        answer_problems: why an answer is none for the verifier; likewise.
        max_tokens: per prompt.
    """
    splits = prompts.groupby("prompt_id")["split"]
    frame = prompts.assign(
        tokens=tokens,
        prompt_problem=pd.Series(prompt_problems, index=prompts.index, dtype=object),
        answer_problem=pd.Series(answer_problems, index=prompts.index, dtype=object),
        splits=splits.transform("nunique"),
    )
    missing = [
        f"there are no {split} prompts" for split in ("train", "eval") if split not in set(frame.split)
    ]
    frame["split_problem"] = missing[0] if missing else None
    return frame, [
        Check("prompt", "is empty", gxe.ExpectColumnValuesToMatchRegex(column="prompt", regex=r"\S")),
        Check(
            "prompt",
            next(filter(None, prompt_problems), "cannot be read by the model"),
            gxe.ExpectColumnValuesToBeNull(column="prompt_problem"),
        ),
        Check("answer", "is missing", gxe.ExpectColumnValuesToNotBeNull(column="answer")),
        Check(
            "prompt",
            "is in the training and in the evaluation set",
            gxe.ExpectColumnValuesToBeInSet(column="splits", value_set=[1]),
        ),
        Check(
            "prompt",
            "is a duplicate",
            gxe.ExpectCompoundColumnsToBeUnique(column_list=["prompt_id", "split"]),
        ),
        Check(
            "answer",
            "cannot be read by the verifier",
            gxe.ExpectColumnValuesToBeNull(column="answer_problem"),
            reason="answer_problem",
        ),
        Check(
            "prompt",
            f"is longer than template.max_prompt_tokens ({max_tokens})",
            gxe.ExpectColumnValuesToBeBetween(column="tokens", max_value=max_tokens),
        ),
        Check("split", "is not complete", gxe.ExpectColumnValuesToBeNull(column="split_problem")),
    ]


def sample_checks(
    samples: pd.DataFrame, *, counts: list[int], prompts: int
) -> tuple[pd.DataFrame, list[Check]]:
    """The samples table with derived columns, and its checks; `counts` are the allowed samples per prompt."""
    frame = samples.assign(
        row=samples["prompt_id"] + "/" + samples["sample_index"].astype(str),
        unexplained=samples["reward"].isna() & ~samples["reason"].str.startswith("error: "),
        samples=samples.groupby("prompt_id")["sample_index"].transform("nunique"),
        tokens=samples["token_ids"].map(len),
    ).drop(columns="token_ids")
    fewest, most = min(counts) * prompts, max(counts) * prompts
    total = str(most) if fewest == most else f"{fewest} to {most}"
    return frame, [
        Check(
            "prompt_id",
            f"has not {total} rows",
            gxe.ExpectTableRowCountToBeBetween(min_value=fewest, max_value=most),
        ),
        Check(
            "sample_index",
            "is a duplicate",
            gxe.ExpectCompoundColumnsToBeUnique(column_list=["prompt_id", "sample_index"]),
        ),
        Check(
            "sample_index",
            f"does not count {' or '.join(map(str, counts))} samples of the prompt",
            gxe.ExpectColumnValuesToBeInSet(column="samples", value_set=counts),
        ),
        Check(
            "reward",
            "is missing or not a number",
            gxe.ExpectColumnValuesToBeInSet(column="unexplained", value_set=[False]),
        ),
        Check(
            "reward",
            "is outside [0, 1]",
            gxe.ExpectColumnValuesToBeBetween(column="reward", min_value=0.0, max_value=1.0),
        ),
        Check(
            "finish_reason",
            "is neither stop nor length",
            gxe.ExpectColumnValuesToBeInSet(column="finish_reason", value_set=["stop", "length"]),
        ),
        Check("token_ids", "is empty", gxe.ExpectColumnValuesToBeBetween(column="tokens", min_value=1)),
    ]


def value_checks(
    values: pd.DataFrame, samples: pd.DataFrame, *, beta1: float, prior: Prior | None, seed: int
) -> tuple[pd.DataFrame, list[Check]]:
    """The value table with V* recomputed on some of its rows, and its checks."""
    scored = values[values["n"] > 0]
    chosen = scored.sample(min(_RECOMPUTED_ROWS, len(scored)), random_state=seed)
    rewards = samples.dropna(subset=["reward"]).groupby("prompt_id")["reward"].apply(list)
    recomputed = chosen["prompt_id"].map(rewards).map(lambda own: _recomputed_value(own, beta1, prior))
    # A pooled value is pulled towards those of the other prompts, and may lie outside its own rewards.
    low, high = ("mean_reward", "max_reward") if prior is None else ("nothing", "everything")
    tolerance = 1e-9 + beta1 * 1e-15 if prior is None else 1e-4
    frame = values.assign(
        recomputed_error=(recomputed - chosen["v_star"]).abs(),  # NaN on the rows not chosen
        unexplained=values["v_star"].isna() & (values["n"] > 0),
        # A prompt without scored samples has no value to compare.
        nothing=values["v_star"].where(values["v_star"].isna(), 0.0),
        everything=values["v_star"].where(values["v_star"].isna(), 1.0),
    )
    return frame, [
        Check("prompt_id", "is a duplicate", gxe.ExpectColumnValuesToBeUnique(column="prompt_id")),
        Check(
            "mean_reward",
            "is below 0",
            gxe.ExpectColumnValuesToBeBetween(column="mean_reward", min_value=0.0),
        ),
        Check("v_star", f"is below {_COLUMN_TEXT[low]}", _ordered("v_star", low)),
        Check("v_star", f"is above {_COLUMN_TEXT[high]}", _ordered(high, "v_star")),
        *(
            Check(
                name,
                "is outside [0, 1]",
                gxe.ExpectColumnValuesToBeBetween(column=name, min_value=0.0, max_value=1.0),
            )
            for name in ("expected_reward", "solvable")
        ),
        Check(
            "max_reward", "is above 1", gxe.ExpectColumnValuesToBeBetween(column="max_reward", max_value=1.0)
        ),
        Check(
            "v_star",
            "differs from V* recomputed from the samples' rewards",
            gxe.ExpectColumnValuesToBeBetween(column="recomputed_error", max_value=tolerance),
        ),
        Check(
            "v_star",
            "is missing or not a number",
            gxe.ExpectColumnValuesToBeInSet(column="unexplained", value_set=[False]),
        ),
    ]


def _ordered(larger: str, smaller: str) -> gxe.Expectation:
    return gxe.ExpectColumnPairValuesAToBeGreaterThanB(column_A=larger, column_B=smaller, or_equal=True)


def _recomputed_value(rewards: list[float], beta1: float, prior: Prior | None) -> float:
    """V* by another method than `values.optimal`: relative to the largest reward, summed without rounding.

    With a prior, by another method than `apo_core.values.pooled`: over quantiles, by adaptive quadrature.
    """
    if prior is not None:
        shares = (
            math.expm1(-r / beta1) / math.expm1(-1 / beta1) * math.exp((r - 1) / beta1) for r in rewards
        )
        won = math.fsum(shares)
        return _integral(won, len(rewards), beta1, prior)
    top = max(rewards)
    mean = math.fsum(math.exp((reward - top) / beta1) for reward in rewards) / len(rewards)
    return top + beta1 * math.log(mean)


@cache
def _integral(won: float, count: int, beta1: float, prior: Prior) -> float:
    from scipy import integrate, stats

    rates = stats.beta(prior.alpha + won, prior.beta + count - won)

    def value(share: float) -> float:
        rate = float(rates.ppf(share))
        if rate <= 0:
            return 0.0
        # ln(1 - rate + rate exp(1 / beta1)), of which the exponential may overflow
        return 1 + beta1 * math.log(rate + (1 - rate) * math.exp(-1 / beta1))

    return float(integrate.quad(value, 0, 1, limit=200)[0])
