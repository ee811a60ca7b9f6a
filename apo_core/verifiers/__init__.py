"""Verifiers: rules that turn a completion into a reward, the same rule in every stage."""

from apo_core.verifiers.base import Attempt, Verdict, Verifier, attempt_at
from apo_core.verifiers.choose_scorer import open_scorer
from apo_core.verifiers.error_budget import ErrorBudget, RowError
from apo_core.verifiers.names import make_verifier
from apo_core.verifiers.scorer import InProcess, Scorer

__all__ = [
    "Attempt",
    "ErrorBudget",
    "InProcess",
    "RowError",
    "Scorer",
    "Verdict",
    "Verifier",
    "attempt_at",
    "make_verifier",
    "open_scorer",
]
