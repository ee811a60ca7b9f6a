"""Mathematical expressions, compared by math-verify."""

from __future__ import annotations

import re
from importlib.metadata import version
from typing import Any

from math_verify import parse, verify

from apo_core.verifiers.base import Verdict


class MathVerifier:
    r"""Right where math-verify finds the completion's last expression (or `\boxed{}`) equal to the answer."""

    name = "math"
    version = f"2+math-verify-{version('math-verify')}"

    def answer_problem(self, answer: str) -> str | None:
        """See `Verifier`."""
        return None if _gold(answer) else "has no expression to compare with"

    def score(self, completion: str, answer: str) -> Verdict:
        """See `Verifier`."""
        # The last box is the answer; math-verify would compare with any of them, in an order of its own.
        start = max(completion.rfind("\\boxed"), 0)
        found = parse(completion[start:])
        if not found:
            return Verdict(0.0, None)
        return Verdict(float(verify(_gold(answer), found)), str(found[-1]))


def _gold(answer: str) -> list[Any]:
    # A bare answer ("2\sqrt{13}") is LaTeX without its dollars; read as prose it would be its first number.
    marked = re.search(r"(?<!\\)\$", answer) or "\\boxed" in answer or "\\[" in answer or "\\(" in answer
    return list(parse(answer if marked else f"${answer}$"))
