"""How often an equal policy is promoted over many nights, and how often a better one is.

    python -m benchmarks.nights [--runs 2000]

Every night a new candidate is compared with the champion on the same prompts, as a run does: by the paired
interval of the gain, from fresh responses of both. In the table "equal" no candidate is better than the
champion, in the mean over all prompts there could be: the success rates of single prompts differ by chance. A
run of nights fails with the first promotion. "better" is how often a candidate with a true gain passes at the
look of that number. Three rules are shown: the same 95% interval every night; the interval of
`looks.alpha_of_look`; and what a run does, that interval by the evaluation and once more by fresh responses.
"confirmed" is the first policy of all, which has to beat the reference twice. "lucky" is a candidate after an
equal policy became champion by luck, against the responses that did it and against fresh ones. The last table
is for planning: how often a first policy with a true gain is promoted, by the number of prompts. Student's
interval stands for the bootstrap, which it equals at these numbers of prompts. Four minutes on one core.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, stdtrit

from apo_core.decisions.looks import alpha_of_look

PROMPTS, SAMPLES = 512, 4
NIGHTS = (1, 30, 100, 365)
GAINS = (0.02, 0.034, 0.066)
PLANNED_PROMPTS, PLANNED_GAINS = (128, 256, 512, 1024, 2048), (0.02, 0.034, 0.05, 0.066, 0.1)
_MEAN_LOG_ODDS, _DEVIATION = 0.0, 1.5  # of the champion's success rates over prompts
_CHANGES = (0.0, 0.5)  # standard deviation of a candidate's change of a prompt's log-odds
Floats = NDArray[np.float64]
Rule = Callable[[int], float]  # the alpha of look number k

RULES: dict[str, Rule] = {"95% every night": lambda look: 0.05, "spent over looks": alpha_of_look}


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=2000, help="simulated runs of nights")
    runs = parser.parse_args().runs
    print(f"{PROMPTS} prompts, {SAMPLES} samples each, {runs} runs\n")
    print("| equal: promoted at least once | " + " | ".join(f"{n} nights" for n in NIGHTS) + " |")
    print("|---|" + "---|" * len(NIGHTS))
    for change in _CHANGES:
        scores, afresh = scores_of_nights(change, gain=0.0, nights=max(NIGHTS), runs=runs)
        passed = {name: promoted(scores, rule) for name, rule in RULES.items()}
        passed["spent over looks, confirmed"] = passed["spent over looks"] & promoted(afresh, alpha_of_look)
        for name, by_night in passed.items():
            shares = [float(by_night[:, :nights].any(axis=1).mean()) for nights in NIGHTS]
            cells = " | ".join(f"{share:.1%}" for share in shares)
            print(f"| {name}, change {change:g} | {cells} |", flush=True)
    print("\n| better: promoted at look | " + " | ".join(str(n) for n in NIGHTS) + " |")
    print("|---|" + "---|" * len(NIGHTS))
    for gain in GAINS:
        scores = scores_of_nights(_CHANGES[-1], gain=gain, nights=1, runs=10 * runs)[0][:, 0]
        for name, rule in RULES.items():
            shares = [float((scores > _limit(rule(look))).mean()) for look in NIGHTS]
            cells = " | ".join(f"{share:.0%}" for share in shares)
            print(f"| {gain:+.3f}, {name} | {cells} |", flush=True)
    print(
        "\n| true gain | evaluation alone | confirmed | after a lucky champion: its responses | fresh ones |"
    )
    print("|---|---|---|---|---|")
    for gain in (0.0, *GAINS):
        shares = [*_shares_confirmed(gain, 10 * runs), *_shares_after_luck(gain, runs)]
        print(f"| {gain:+.3f} | " + " | ".join(f"{share:.1%}" for share in shares) + " |", flush=True)
    print("\n| first policy, true gain | " + " | ".join(f"{n} prompts" for n in PLANNED_PROMPTS) + " |")
    print("|---|" + "---|" * len(PLANNED_PROMPTS))
    for gain in PLANNED_GAINS:
        shares = [_shares_confirmed(gain, runs, prompts)[1] for prompts in PLANNED_PROMPTS]
        print(f"| {gain:+.3f} | " + " | ".join(f"{share:.0%}" for share in shares) + " |", flush=True)


def _shares_confirmed(gain: float, runs: int, prompts: int = PROMPTS) -> tuple[float, float]:
    """How often a policy passes its evaluation, and that and fresh responses, at the first look."""
    rng = np.random.default_rng(2)
    shift = _shift(_CHANGES[-1], gain)
    passed = np.empty((runs, 2), bool)
    for run in range(runs):
        log_odds = _MEAN_LOG_ODDS + _DEVIATION * rng.standard_normal(prompts)
        rates = expit(log_odds + shift + _CHANGES[-1] * rng.standard_normal(prompts))
        for k in range(2):
            score = _score(_means(rng, rates), _means(rng, expit(log_odds)))
            passed[run, k] = score > _limit(0.05, prompts)
    return float(passed[:, 0].mean()), float(passed.all(axis=1).mean())


def _shares_after_luck(gain: float, runs: int) -> tuple[float, float]:
    """How often a policy passes against a lucky champion's own responses, and against fresh ones."""
    rng = np.random.default_rng(3)
    shift = _shift(_CHANGES[-1], gain)
    passed: list[tuple[bool, bool]] = []
    while len(passed) < runs:
        log_odds = _MEAN_LOG_ODDS + _DEVIATION * rng.standard_normal(PROMPTS)
        rates = expit(log_odds)
        lucky = _means(rng, rates)
        if _score(lucky, _means(rng, rates)) > _limit(0.05):  # equal to the champion before, and promoted
            better = expit(log_odds + shift + _CHANGES[-1] * rng.standard_normal(PROMPTS))
            own = _means(rng, better)
            scores = _score(own, lucky), _score(own, _means(rng, rates))
            passed.append((scores[0] > _limit(0.05), scores[1] > _limit(0.05)))
    against_own, against_fresh = np.array(passed).mean(axis=0)
    return float(against_own), float(against_fresh)


def _means(rng: np.random.Generator, rates: Floats) -> Floats:
    """Mean rewards per prompt of sampled responses."""
    means: Floats = rng.binomial(SAMPLES, rates) / SAMPLES
    return means


def _score(ours: Floats, theirs: Floats) -> float:
    """The gain in standard errors."""
    gains = ours - theirs
    return float(gains.mean() / gains.std(ddof=1) * len(gains) ** 0.5)


def scores_of_nights(change: float, *, gain: float, nights: int, runs: int) -> tuple[Floats, Floats]:
    """(runs, nights) gains of candidates over the champion, in standard errors; and by fresh responses.

    Only who passes the 95% interval is asked afresh; others have minus infinity there.
    """
    rng, fresh = np.random.default_rng(0), np.random.default_rng(4)
    scores, afresh = np.empty((runs, nights)), np.full((runs, nights), -np.inf)
    shift = _shift(change, gain)
    for run in range(runs):
        log_odds = _MEAN_LOG_ODDS + _DEVIATION * rng.standard_normal(PROMPTS)
        for first in range(0, nights, 100):
            some = min(100, nights - first)
            rates = expit(log_odds + shift + change * rng.standard_normal((some, PROMPTS)))
            champion = _means(rng, np.tile(expit(log_odds), (some, 1)))  # asked afresh every night
            gains = _means(rng, rates) - champion
            errors = gains.std(axis=1, ddof=1) / PROMPTS**0.5
            scores[run, first : first + some] = gains.mean(axis=1) / errors
            for night in np.flatnonzero(scores[run, first : first + some] > _limit(0.05)):
                asked = _means(fresh, rates[night]), _means(fresh, expit(log_odds))
                afresh[run, first + night] = _score(*asked)
    return scores, afresh


def promoted(scores: Floats, rule: Rule) -> NDArray[np.bool_]:
    """Which nights promote: the lower end of the interval lies above 0."""
    limits = np.array([_limit(rule(look)) for look in range(1, scores.shape[1] + 1)])
    return scores > limits


def _limit(alpha: float, prompts: int = PROMPTS) -> float:
    return float(stdtrit(prompts - 1, 1 - alpha / 2))


def _shift(change: float, gain: float) -> float:
    """The change of all log-odds by which the mean success rate is the champion's plus the gain."""
    z = np.random.default_rng(1).standard_normal((2, 200_000))
    log_odds = _MEAN_LOG_ODDS + _DEVIATION * z[0]
    target = expit(log_odds).mean() + gain
    low, high = -5.0, 5.0
    for _ in range(50):
        middle = (low + high) / 2
        below = expit(log_odds + middle + change * z[1]).mean() < target
        low, high = (middle, high) if below else (low, middle)
    return low


if __name__ == "__main__":
    main()
