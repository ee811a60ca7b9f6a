"""Gold answers as completions: what a response would say that gives exactly the gold answer."""

from __future__ import annotations

from apo_core.verifiers.extraction import Rule, extract
from apo_core.verifiers.latex import pieces_of

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
    if name == "math":
        expression = _expression(answer)
        if rule == "last":  # as prose, "2x" would be 2
            return f"${answer}$" if expression is None else answer
        answer = answer if expression is None else expression
    if rule == "hashes" and "\n" in answer:
        return None  # the rule reads one line
    return _WRITTEN[rule].format(answer) if rule in _WRITTEN else answer


def _expression(gold: str) -> str | None:
    """What is marked in a gold answer of verifier `math`: its boxes, or its only piece of LaTeX.

    Returns:
        Several pieces with all that is between them; None where nothing is marked.
    """
    boxed = extract(gold, ("boxed",))
    if boxed is not None:
        return boxed.text
    pieces = pieces_of(gold)
    if not pieces:
        return None
    return pieces[0].strip() if len(pieces) == 1 else gold
