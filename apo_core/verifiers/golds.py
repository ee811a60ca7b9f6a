"""Gold answers as completions: what a response would say that gives exactly the gold answer."""

from __future__ import annotations

from apo_core.verifiers.extraction import Rule

_WRITTEN: dict[Rule, str] = {"hashes": "#### {}", "boxed": r"\boxed{{{}}}", "tag": "<answer>{}</answer>"}


def gold_completion(name: str, rules: tuple[Rule, ...], gold: str) -> str | None:
    r"""Write a gold answer where the first extraction rule looks for it.

    Args:
        name: of the verifier.
        rules: of the verifier.
        gold: the gold answer.

    Returns:
        The completion, such as `\boxed{7}`; None where the gold is no answer: tests of `code`, or no text.
    """
    if name in ("code", "form") or not gold.strip():
        return None
    answer = gold.rpartition("####")[2].strip() if name == "gsm8k" else gold.strip()
    rule = rules[0]
    if rule == "hashes" and "\n" in answer:
        return None  # the rule reads one line
    if rule == "last" and name == "math" and "$" not in answer and "\\boxed" not in answer:
        return f"${answer}$"  # as prose, "2x" would be 2
    return _WRITTEN[rule].format(answer) if rule in _WRITTEN else answer
