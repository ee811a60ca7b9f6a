"""Verifiers: the one rule that turns a completion into a reward, in every stage."""

from apo_core.verifiers.base import Verdict, Verifier, make_verifier

__all__ = ["Verdict", "Verifier", "make_verifier"]
