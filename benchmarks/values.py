"""V*, kept prompts and the guard's baseline against the truth, on twelve populations of success rates.

    python -m benchmarks.values [--tables 20]

Samples 0/1 rewards of prompts whose success rates are known, makes the value table by the stage's own code,
with `values.estimate` published and pooled, and simulates trainings whose policy stays the reference, or
falls to a quarter of its success rates at step 10. Then asks the guard about the trainings of
`benchmarks/results/stability.json`. Writes benchmarks/results/values.{md,png}. Ten minutes on one core.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable
from statistics import fmean
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from apo_core import config
from apo_core.system.files import replacing, write_text
from apo_core.training.least_reward import least_reward
from apo_core.values.selection import SOLVABLE, dropped_but_solvable
from benchmarks.comparison.stability import Trace, collapsed, stopped_at
from benchmarks.processes import ROOT
from tasks.stages.values import Priors, expected_reward_limits, fit_priors, value_table

Floats = NDArray[np.float64]
BETA1, PROMPTS, SAMPLES = 0.5, 512, (2, 4, 8, 16)
TRAININGS = 200  # per value table
STEPS, BATCH, WINDOW, SHARE = 64, 256, 5, 0.5  # as in presets/embedded.yaml
FALLS_AT, FALLS_TO = 10, 0.25
ESTIMATES = ("published", "pooled")
SHOWN = 8  # samples per prompt in the picture


Population = Callable[[np.random.Generator, int], Floats]  # the success rates of so many prompts


def _beta(alpha: float, beta: float) -> Population:
    return lambda rng, prompts: rng.beta(alpha, beta, prompts)


def _points(low: float, high: float, share: float) -> Population:
    return lambda rng, prompts: np.where(rng.random(prompts) < share, high, low)


POPULATIONS = {
    "Beta(1, 19)": _beta(1, 19),
    "Beta(1, 9)": _beta(1, 9),
    "Beta(0.5, 9.5)": _beta(0.5, 9.5),
    "Beta(2, 8)": _beta(2, 8),
    "Beta(1, 1)": _beta(1, 1),
    "Beta(5, 5)": _beta(5, 5),
    "Beta(8, 2)": _beta(8, 2),
    "Beta(0.3, 0.3)": _beta(0.3, 0.3),
    "half at 0, half at 0.6": _points(0.0, 0.6, 0.5),
    "70% at 0.02, 30% at 0.5": _points(0.02, 0.5, 0.3),
    "all at 0.05": _points(0.05, 0.05, 1.0),
    "all at 0.3": _points(0.3, 0.3, 1.0),
}
HARD = ("Beta(1, 19)", "Beta(0.5, 9.5)", "all at 0.05")  # where hardly any prompt is solved
SIZES = ((128, 64), (128, 1000), (512, 1000))  # prompts, and steps of a training


class Outcome(NamedTuple):
    """What one way of making the value table comes to in one simulated stage 1."""

    bias: float  # of V*, over the prompts that a sample solves
    square: float  # mean squared error of V*, over the same
    kept: float  # share of all prompts
    solvable_dropped: float  # share of the solvable prompts; NaN where there are none
    reported: float  # number of dropped prompts that the report calls solvable
    reported_truly: float
    baseline: float  # of the guard
    truth: float  # true mean reward on the kept prompts
    alarms_before: float  # share of trainings stopped, with the kept prompts' own mean as baseline
    alarms: float
    caught: float  # share of collapsing trainings that are stopped


def main() -> None:
    """Simulate all populations, and write tables and picture."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tables", type=int, default=20, help="simulated value tables per row")
    tables = parser.parse_args().tables
    outcomes: dict[tuple[str, int], dict[str, Outcome]] = {}
    for name in POPULATIONS:
        for samples in SAMPLES:
            outcomes[name, samples] = simulate(name, samples, tables=tables)
            print(_row(name, samples, outcomes[name, samples]), flush=True)
    sizes = {
        (name, samples, prompts, steps): simulate(
            name, samples, tables=2 * tables, prompts=prompts, steps=steps
        )["pooled"]
        for name in HARD
        for samples in SAMPLES[:3]
        for prompts, steps in SIZES
    }
    text = report(outcomes, sizes, tables)
    results = ROOT / "benchmarks/results"
    write_text(results / "values.md", text)
    with replacing(results / "values.png") as temporary:
        picture(outcomes).savefig(temporary, format="png", dpi=110, metadata={"Software": None})
    print(text)


def simulate(
    population: str, samples: int, *, tables: int, prompts: int = PROMPTS, steps: int = STEPS
) -> dict[str, Outcome]:
    """Mean outcomes over simulated stages 1, which both estimates share, by estimate."""
    every: dict[str, list[Outcome]] = {estimate: [] for estimate in ESTIMATES}
    for number in range(tables):
        rng = np.random.default_rng([number, samples, *population.encode()])
        rates = POPULATIONS[population](rng, prompts)
        frame = _frame((rng.random((prompts, samples)) < rates[:, None]).astype(float))
        priors = fit_priors(frame, BETA1)
        for estimate in ESTIMATES:
            every[estimate].append(outcome(rates, frame, priors, estimate, rng, steps=steps))
    return {name: Outcome(*map(_mean, zip(*own, strict=True))) for name, own in every.items()}


def _mean(numbers: tuple[float, ...]) -> float:
    known = [number for number in numbers if not math.isnan(number)]
    return fmean(known) if known else math.nan


def outcome(
    rates: Floats,
    samples: pd.DataFrame,
    priors: Priors,
    estimate: str,
    rng: np.random.Generator,
    *,
    steps: int = STEPS,
) -> Outcome:
    """Outcome for the value table that the samples of prompts with (P,) success rates make."""
    values = config.Values.model_validate(
        {
            "estimate": estimate,
            "beta1": BETA1,
            "drop_unsolved": True,
            "drop_solved": False,
            "keep_mean_reward": (0.0, 1.0),
        }
    )
    table = value_table(samples, values, priors)
    kept = table["dropped"].isna().to_numpy()
    truth = BETA1 * np.log1p(rates * math.expm1(1 / BETA1))
    # Both estimates keep these; pooled keeps others beside them, of which less is known.
    solved = table["max_reward"].to_numpy() > 0
    errors = (table["v_star"].to_numpy() - truth)[solved]
    solvable = rates > SOLVABLE
    before = SHARE * float(table.loc[kept, "mean_reward"].mean())
    lowest, highest = expected_reward_limits(table, priors.cautious)
    true_mean = float(rates[kept].mean())
    unchanged, falling = (window_means(true_mean, rng, steps=steps, falls=falls) for falls in (False, True))
    return Outcome(
        bias=float(errors.mean()),
        square=float((errors**2).mean()),
        kept=float(kept.mean()),
        solvable_dropped=float((~kept)[solvable].mean()) if solvable.any() else math.nan,
        reported=dropped_but_solvable(table),
        reported_truly=float((solvable & ~kept).sum()),
        baseline=highest,
        truth=true_mean,
        alarms_before=float((unchanged < before).any(axis=1).mean()),
        alarms=float((unchanged < _least(unchanged, lowest, highest)).any(axis=1).mean()),
        caught=float((falling < _least(falling, lowest, highest)).any(axis=1).mean()),
    )


def _least(windows: Floats, lowest: float, highest: float) -> Floats:
    """(TRAININGS, 1) least mean reward of a window, as a guard takes it from the first one."""
    firsts, position = np.unique(windows[:, 0].clip(lowest, highest), return_inverse=True)
    least = [least_reward(float(first), share=SHARE, rewards=WINDOW * BATCH) for first in firsts]
    return np.array(least)[position][:, None]


def _frame(rewards: Floats) -> pd.DataFrame:
    """The columns of a table of samples that a value table is made of, from (P, N) rewards."""
    prompts, samples = rewards.shape
    return pd.DataFrame(
        {
            "prompt_id": np.repeat(np.arange(prompts), samples).astype(str),
            "sample_index": np.tile(np.arange(samples), prompts),
            "reward": rewards.ravel(),
        }
    )


def window_means(mean: float, rng: np.random.Generator, *, steps: int = STEPS, falls: bool = False) -> Floats:
    """(TRAININGS, steps - WINDOW + 1) mean rewards over the guard's window.

    Prompts are sampled with replacement, which varies more than their order in training does.

    Args:
        mean: true mean reward of the reference policy on the kept prompts.
        rng: of the rewards.
        steps: of a training.
        falls: whether the policy falls to a share of it.
    """
    means = np.full(steps, mean)
    if falls:
        means[FALLS_AT:] *= FALLS_TO
    rewards = rng.binomial(BATCH, means, (TRAININGS, steps)) / BATCH
    windows: Floats = np.lib.stride_tricks.sliding_window_view(rewards, WINDOW, axis=1).mean(axis=2)
    return windows


def _row(name: str, samples: int, of: dict[str, Outcome]) -> str:
    published, pooled = of["published"], of["pooled"]
    cells = [
        name,
        str(samples),
        *(f"{own.bias:+.3f} ({own.square**0.5:.3f})" for own in (published, pooled)),
        *(f"{own.kept:.0%}, {_percent(own.solvable_dropped)}" for own in (published, pooled)),
        f"{published.reported:.0f} of {published.reported_truly:.0f}",
        f"{published.baseline:.3f} of {published.truth:.3f}",
        f"{published.alarms_before:.1%}",
        f"{published.alarms:.1%}",
        f"{pooled.alarms:.1%}",
        f"{pooled.caught:.1%}",
    ]
    return f"| {' | '.join(cells)} |"


def _percent(share: float) -> str:
    return "-" if math.isnan(share) else f"{share:.0%}"


def report(
    outcomes: dict[tuple[str, int], dict[str, Outcome]],
    sizes: dict[tuple[str, int, int, int], Outcome],
    tables: int,
) -> str:
    """Markdown: all populations, the hard ones, and what the guard says of the study of stability."""
    return "\n".join(
        [
            "# Value tables against the truth",
            "",
            f"{PROMPTS} prompts with known success rates, N samples each, beta1 {BETA1:g}, {tables} value "
            f"tables per row, {TRAININGS} trainings of {STEPS} steps of {BATCH} prompts for each.",
            "",
            "- V*: bias (root mean square error) over the prompts that a sample solves, which both keep.",
            "- Kept: share of all prompts, and share of the solvable ones (success rate above "
            f"{SOLVABLE:g}) that is dropped.",
            "- Reported: dropped prompts that the report calls solvable, published, of those that are.",
            "- Expected: what the guard expects at most, published, of the true mean reward on the kept "
            "prompts.",
            f"- Stopped: trainings of an unchanged reference that a guard at {SHARE:g} stops; before: with "
            "the kept prompts' own mean expected.",
            f"- Caught: trainings that are stopped, of those whose policy falls to {FALLS_TO:g} of its "
            "success rates, pooled.",
            "",
            "| success rates | N | V* published | V* pooled | kept published | kept pooled | reported | "
            "expected | stopped, before | stopped, published | stopped, pooled | caught |",
            f"|{'---|' * 12}",
            *(_row(*case, of) for case, of in outcomes.items()),
            "",
            "## Few prompts and long trainings",
            "",
            f"The same, pooled, {2 * tables} value tables per row.",
            "",
            "| success rates | N | prompts | steps | stopped | caught |",
            f"|{'---|' * 6}",
            *(
                f"| {' | '.join(map(str, case))} | {of.alarms:.1%} | {of.caught:.1%} |"
                for case, of in sizes.items()
            ),
            "",
            *_stability(),
            "",
        ]
    )


def _stability() -> list[str]:
    """Collapses of the recorded trainings that the guard detects with the true mean reward as baseline."""
    traces: list[Trace] = json.loads((ROOT / "benchmarks/results/stability.json").read_text("utf-8"))
    first = {
        seed: fmean(trace["reward"][0] for trace in traces if trace["seed"] == seed)
        for seed in {trace["seed"] for trace in traces}
    }
    steps: dict[bool, list[int | None]] = {True: [], False: []}
    for trace in traces:
        # The first batch, the same for all trainings of a seed, is answered by the reference policy.
        now = trace | {"start": first[trace["seed"]]}
        steps[collapsed(trace)].append(stopped_at(now, max_kl=math.inf, reward_share=SHARE))
    fallen, standing = steps[True], steps[False]
    detected = sorted(step for step in fallen if step is not None)
    mistakes = sum(step is not None for step in standing)
    baselines = ", ".join(f"{reward:.3f}" for reward in sorted(first.values()))
    at_steps = ", ".join(map(str, detected))
    return [
        f"Trainings of `stability.json`, baselines the mean rewards of the first steps ({baselines}), no "
        f"limit of the KL: {len(detected)} of {len(fallen)} collapses detected, at steps {at_steps}; "
        f"{mistakes} of the other {len(standing)} trainings stopped."
    ]


def picture(outcomes: dict[tuple[str, int], dict[str, Outcome]]) -> Figure:
    """Bias of V* and false alarms by population, published beside pooled."""
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    errors, alarms = figure.subplots(1, 2, sharey=True)
    rows = np.arange(len(POPULATIONS))
    shown = [outcomes[name, SHOWN] for name in POPULATIONS]
    for offset, estimate, colour in ((-0.2, "published", "#8a8f98"), (0.2, "pooled", "#1f6feb")):
        biases = [of[estimate].bias for of in shown]
        errors.barh(rows + offset, biases, height=0.36, color=colour, label=estimate)
        stopped = [
            of[estimate].alarms_before if estimate == "published" else of[estimate].alarms for of in shown
        ]
        label = "baseline: mean of the samples" if estimate == "published" else "baseline: posterior mean"
        alarms.barh(rows + offset, [100 * share for share in stopped], height=0.36, color=colour, label=label)
    errors.set_yticks(rows, [*POPULATIONS])
    errors.invert_yaxis()
    errors.set(title=f"bias of V* of kept prompts, N = {SHOWN}", xlabel="reward")
    alarms.set(title="trainings of an unchanged policy that are stopped", xlabel="%", xlim=(0, 100))
    for axis in (errors, alarms):
        axis.axvline(0, color="#3d4148", linewidth=0.8)
        axis.spines[["top", "right"]].set_visible(False)
        axis.legend(frameon=False, loc="lower right")
    return figure


if __name__ == "__main__":
    main()
