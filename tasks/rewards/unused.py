"""Verifiers that are for no prompt: a mistyped set or group in `verifier.when` would go unnoticed."""

from __future__ import annotations

from collections.abc import Iterable

from apo_core import config

_SHOWN = 10  # sets or groups


def unused_verifier(verifiers: config.Verifiers, kinds: Iterable[tuple[str, str | None]]) -> str | None:
    """Say which verifier is for no prompt, and what sets and groups there are; None if there is no such one.

    Args:
        verifiers: the configuration.
        kinds: set and group of the prompts, each pair at least once.
    """
    kinds = set(kinds)
    for verifier in verifiers:
        when = verifier.when
        if when is not None and not any(when.fits(*kind) for kind in kinds):
            asked = ", ".join(
                f"{key}: [{', '.join(names)}]"
                for key, names in (("set", when.set), ("group", when.group))
                if names is not None
            )
            known = f"sets: {_listed({name for name, _ in kinds})}"
            if when.group is not None:
                groups = {group for _, group in kinds if group is not None}
                known += f"; groups: {_listed(groups) or 'none, see data.group_field'}"
            return f"{verifier.name} with when {{{asked}}} is for no prompt; there are {known}"
    return None


def _listed(names: set[str]) -> str:
    first = sorted(names)[:_SHOWN]
    more = len(names) - len(first)
    return ", ".join(first) + (f" and {more} more" if more else "")
