from pathlib import Path

from apo_core.verifiers import make_verifier, open_scorer
from apo_core.verifiers.pool import PooledScorer


def test_a_program_that_is_too_slow_is_the_sandboxs_to_end_not_the_pools():
    verifier = make_verifier("code", ("code",), Path())
    with open_scorer(verifier, workers=1, time_limit_seconds=3.0, memory_limit_mib=300) as scorer:
        assert isinstance(scorer, PooledScorer)
        sandbox = scorer.verifier.verifier.sandbox  # inside what drops thinking parts
        assert (sandbox.time_limit, sandbox.memory_limit_mib) == (3.0, 300)
        assert scorer.time_limit > 30.0


def test_the_version_says_what_programs_run_on():
    version = make_verifier("code", ("code", "whole"), Path()).version
    assert version.startswith("1+python-3.")
    assert ":code,whole" in version
