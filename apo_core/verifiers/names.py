"""The names of verifiers in a configuration, and the extraction rules that each verifier allows."""

from __future__ import annotations

import re
from pathlib import Path

from apo_core.verifiers.base import Verifier
from apo_core.verifiers.extraction import Rule
from apo_core.verifiers.thinking import TAGS, Tags, Thinking, WithoutThinking

_GYM = "reasoning_gym:"
_ANSWERS: tuple[Rule, ...] = (
    "hashes",
    "boxed",
    "tag",
    "last",
)  # verifiers that find an answer within text
_TEXTS: tuple[Rule, ...] = ("hashes", "boxed", "tag", "whole")
_MARKED: tuple[Rule, ...] = ("hashes", "boxed", "tag")
_PROGRAMS: tuple[Rule, ...] = ("code", "whole")
_RULES = {
    "numeric": _ANSWERS,
    "gsm8k": _ANSWERS,
    "math": _ANSWERS,
    "choice": _ANSWERS,
    "exact": _TEXTS,
    "code": _PROGRAMS,
    "form": _MARKED,
}
_FUNCTION = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")


def name_problem(name: str) -> str | None:
    """Say why no verifier has that name; None if one does."""
    if name in _RULES or _FUNCTION.fullmatch(name):
        return None
    return f"must be {', '.join(_RULES)}, reasoning_gym:TASK or package.module:function"


def rules_problem(name: str, rules: tuple[Rule, ...]) -> str | None:
    """Say why the extraction rules do not fit together or not the verifier; None if they do."""
    allowed = _allowed(name)
    for rule in rules:
        if rule not in allowed:
            return f"{rule} is unknown to verifier {name}, which has {', '.join(allowed)}"
    if len(set(rules)) < len(rules):
        return "a rule is listed twice"
    for rule in rules[:-1]:
        if rule in ("last", "whole"):
            return f"{rule} always finds something, so that no rule after it has a say"
    return None


def make_verifier(
    name: str,
    rules: tuple[Rule, ...],
    directory: Path,
    *,
    thinking: Thinking = "drop",
    thinking_tags: Tags = TAGS,
    thinking_opened: bool = False,
) -> Verifier:
    """Make the verifier of that name.

    Args:
        name: without a `name_problem`.
        rules: without a `rules_problem`.
        directory: absolute path of the user's own modules.
        thinking: whether the thinking part of a completion is dropped before it is scored.
        thinking_tags: what opens and what closes a thinking part.
        thinking_opened: whether the prompts end with the opening tag.

    Raises:
        ApoError: the user's module does not exist, or reasoning-gym is not installed.
    """
    if name == "form":
        from apo_core.verifiers.form import FormVerifier

        return FormVerifier(rules, None if thinking == "keep" else thinking_tags, thinking_opened)
    verifier = _make(name, rules, directory)
    if thinking == "keep":
        return verifier
    return WithoutThinking(verifier, thinking_tags, thinking_opened)


def _make(name: str, rules: tuple[Rule, ...], directory: Path) -> Verifier:
    if name in ("numeric", "gsm8k"):
        from apo_core.verifiers.numeric import NumericVerifier

        return NumericVerifier(name, rules)
    if name == "exact":
        from apo_core.verifiers.exact import ExactVerifier

        return ExactVerifier(rules)
    if name == "choice":
        from apo_core.verifiers.choice import ChoiceVerifier

        return ChoiceVerifier(rules)
    if name == "math":
        from apo_core.verifiers.mathematics import MathVerifier

        return MathVerifier(rules)
    if name == "code":
        from apo_core.verifiers.code.verifier import CodeVerifier

        return CodeVerifier(rules)
    if name.startswith(_GYM):
        from apo_core.verifiers.reasoning_gym import ReasoningGymVerifier

        return ReasoningGymVerifier(name.removeprefix(_GYM), rules)
    from apo_core.verifiers.user import UserVerifier

    return UserVerifier(name, directory)


def _allowed(name: str) -> tuple[Rule, ...]:
    if name in _RULES:
        return _RULES[name]
    # A user's function gets the whole completion.
    return _TEXTS if name.startswith(_GYM) else ("whole",)
