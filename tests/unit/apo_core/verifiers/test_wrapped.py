"""A wrapped verifier keeps what the inner one is."""

from pathlib import Path

from apo_core.verifiers import make_verifier
from apo_core.verifiers.thinking import WithoutThinking
from apo_core.verifiers.timed import SECONDS, Timed
from apo_core.verifiers.wrapped import with_own_limits

LIMITS = {"time_limit_seconds": 2.0, "memory_limit_mib": 100}


def test_limits_reach_a_verifier_that_keeps_them_itself_through_all_that_wraps_it():
    limited = with_own_limits(Timed(make_verifier("code", ("code",), Path())), **LIMITS)
    assert isinstance(limited, Timed) and isinstance(limited.verifier, WithoutThinking)
    sandbox = limited.verifier.verifier.sandbox
    assert (sandbox.time_limit, sandbox.memory_limit_mib) == (2.0, 100)
    assert with_own_limits(Timed(make_verifier("math", ("last",), Path())), **LIMITS) is None


def test_a_wrapped_verifier_scores_as_the_inner_one(tmp_path):
    (tmp_path / "mine.py").write_text("def score(*_):\n    return 0.5\n")
    timed = Timed(make_verifier("mine:score", ("whole",), tmp_path))
    assert (timed.name, timed.bounded, timed.reads_row, timed.directory) == (
        "mine:score",
        False,
        True,
        tmp_path,
    )
    assert timed.version == timed.verifier.version
    number = Timed(make_verifier("numeric", ("last",), Path()))
    number.load()
    assert number.answer_problem("7", {}) is None and number.directory is None
    verdict = number.score("so 7", "7", {})
    assert verdict.reward == 1.0 and verdict.parts is not None and verdict.parts[SECONDS] > 0
