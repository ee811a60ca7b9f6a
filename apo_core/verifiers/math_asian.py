"""Chinese, Japanese and Korean words around numbers: scales, words that join, units, times of day."""

from __future__ import annotations

import re

from apo_core.verifiers.math_words import times

CHARACTER = "[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af]"
_SCALES = {
    "十": 10, "百": 10**2, "千": 10**3, "万": 10**4, "萬": 10**4, "만": 10**4,
    "亿": 10**8, "億": 10**8, "억": 10**8,
}  # fmt: skip
_NUMBER = r"(?<![\d.])(\d+(?:,\d{3})*(?:\.\d+)?)\s*"
# Not "5千克" (kilograms), "5百分点", "1亿2000万"
_SCALED = re.compile(
    _NUMBER + r"([十百千]?[万萬만亿億억]|万亿|[百千])(?![克米瓦卡帕焦赫伏分十百千万萬亿億\d])"
)
_JOINER = re.compile(
    rf"(?<!{CHARACTER})(?<!\s)\s*(?:\\(?:text|mbox|mathrm)\s*\{{\s*)?(或者?|和|与|與|及|以及|または|と|또는)(?:\s*\}})?\s*(?!\s*{CHARACTER})"
)
_WORDS = re.compile(rf"(?<!\s)\s*(?:\\(?:text|mbox|mathrm)\s*\{{\s*)?{CHARACTER}+(?:\s*\}})?\s*")
_HALF_OF_DAY = re.compile("[上下]午|早上|晚上|凌晨|中午|傍晚|午[前後]|오전|오후")
# "3米5厘米", "1亿2000万": numbers with words behind them, twice or more
_COMPOUND = re.compile(
    rf"{CHARACTER}*(?:\s*\d[\d.]*\s*{CHARACTER}+){{2,9}}(?:\s*\d[\d.]*)?|{CHARACTER}*\d[\d.]*{CHARACTER}+\d[\d.]*"
)
_CIRCLED = re.compile("[\u2460-\u2473]")
_ITEMS = re.compile(rf"(?:[\u2460-\u2473]|{CHARACTER}|[\s,、，.。])+")
_DIGIT = re.compile(r"\d")


def circled(text: str) -> str | None:
    """Read an answer that names items by circled numbers, in their order; None if it is any other text."""
    items = _CIRCLED.findall(text)
    return "".join(items) if items and _ITEMS.fullmatch(text) else None


def scaled(text: str) -> str:
    """Write out numbers of ten thousands and the like."""
    return _SCALED.sub(_times, text)


def joined(text: str, joiner: str = " or ") -> str:
    """Write the words that join two expressions in another language."""
    return _JOINER.sub(joiner, text)


def without_words(text: str) -> str:
    """Drop words around numbers; a time of day, and a quantity in several units, keep theirs."""
    if not _DIGIT.search(text):
        return text
    text = scaled(joined(text) if "$" in text else joined(text, r"\\text{ or }"))
    if _HALF_OF_DAY.search(text) or _COMPOUND.fullmatch(text):
        return text.replace(" ", "")
    return _WORDS.sub(" ", text).strip()


def is_asian(text: str) -> bool:
    """Whether an answer, as `without_words` or `circled` leaves it, is no plain number."""
    return not text.isascii() and bool((_DIGIT.search(text) and _WORDS.search(text)) or _CIRCLED.search(text))


def _times(match: re.Match[str]) -> str:
    factor = 1
    for scale in match[2]:
        factor *= _SCALES[scale]
    return times(match[1], factor)
