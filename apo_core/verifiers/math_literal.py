r"""Answers that are no expressions, or of which math-verify would cut a part off: compared as what they are.

Times of day, numbers in a base, ranges, ratios, words; and expressions with a condition, a modulus, an
ellipsis or a prime, which math-verify drops without a word.
"""

from __future__ import annotations

import re

from apo_core.verifiers.math_asian import is_asian
from apo_core.verifiers.math_key import ELLIPSIS, PRIME, TEXT, key
from apo_core.verifiers.math_numerals import bases, dates, ranges, ratios, telephones, times
from apo_core.verifiers.math_words import worded

_WORDS = re.compile(r"[A-Za-z][A-Za-z' -]*[A-Za-z][.!]?")
_SHORT = {
    "no",
    "on",
    "up",
    "go",
    "or",
    "of",
    "if",
    "it",
    "in",
    "to",
    "by",
    "be",
    "we",
    "he",
    "me",
    "my",
    "so",
    "us",
    "an",
    "at",
    "do",
    "am",
    "pm",
    "is",
    "as",
    "ok",
}
_JOINERS = {"and", "or"}
_SYMBOLS = {"infinity", "inf", "pi", "percent", "abc", "bcd", "xyz", "mnp", "pqr", "rst", "uvw", "lmn", "efg"}
_CONDITION = re.compile(
    r"\\(?:forall|exists|nexists|pmod|bmod|mod|equiv|neg|lor|land|vee|wedge|iff|implies|Rightarrow)(?![A-Za-z])"
    r"|(?<![A-Za-z\\])(?:for|if|when|where|such that|unless|except|mod|whenever)(?![A-Za-z])"
)
_DERIVATIVE = re.compile(
    r"([A-Za-z](?:'+|\^\{?(?:\\prime\s*)+\}?)(?:\([A-Za-z]\))?)\s*=(?!.*=)(.*)", re.DOTALL
)
_CODE = re.compile(r"[IVX]{2}|[HT]{2}")  # Roman numerals, tosses of a coin
_ANGLE = re.compile(r"\\angle\{?([A-Z])([A-Z])([A-Z])\}?")
_QUOTIENT = re.compile(r"\\frac\{(?:d|\\partial)[\w^{}]*\}\{(?:d|\\partial)[\w^{}]*\}")  # dy/dx
_NOT_EQUAL = re.compile(r"\s*\\ne(?![A-Za-z])")
_TRANSPOSE = re.compile(
    r"(?<=[A-Z)}\]])\s*\^\s*\{?\s*(?:T(?![A-Za-z])|\\(?:top|intercal)|\\(?:mathrm|text)\{T\})"
)
_CONCLUSION = re.compile(r"\\(?:implies|Rightarrow|Longrightarrow|therefore)(?![A-Za-z])")
_MODULUS = re.compile(r"^(?:([A-Za-z])\s*\\equiv\s*)?(-?\d+)\s*(?:\\[ ,;:!]|\s)*\\pmod\{(\w+)\}$")


def conclusion(text: str) -> str:
    r"""Take what an answer concludes: what follows its last `\implies`."""
    return _CONCLUSION.split(text)[-1].strip()


def residue(text: str) -> tuple[str | None, str, str] | None:
    r"""Read variable, number and modulus of `x \equiv 3 \pmod{7}`."""
    match = _MODULUS.match(text.strip())
    return (match[1], match[2], match[3]) if match else None


def residues_equal(own: tuple[str | None, str, str] | None, other: tuple[str | None, str, str]) -> bool:
    """Compare residues: the same class of the same modulus, and of the same variable where both name one."""
    if own is None or own[2] != other[2] or (own[0] and other[0] and own[0] != other[0]):
        return False
    if not own[2].isdigit() or not int(own[2]):
        return own[1] == other[1]
    return (int(own[1]) - int(other[1])) % int(own[2]) == 0


def left_side(text: str) -> str | None:
    """Read the left side of an equation, as `key` makes it; None if the text is no equation."""
    left, equals, _ = text.partition("=")
    return key(left) if equals and not left.rstrip().endswith(("\\", "<", ">", "!")) else None


def derivative(text: str) -> tuple[str, str] | None:
    """Split `y' = ...` into its sides."""
    match = _DERIVATIVE.fullmatch(text.strip())
    return (key(match[1]), match[2].strip()) if match else None


def literal_equal(gold: str, answer: str) -> bool | None:
    """Compare two answers of which one is no expression; None if both are expressions."""
    for compare in _COMPARED:
        equal = compare(gold, answer)
        if equal is not None:
            return equal
    return None


def loses_transpose(gold: str, answer: str) -> bool:
    """Whether one of two answers is transposed and the other is not: math-verify drops the sign."""
    return bool(_TRANSPOSE.search(gold)) != bool(_TRANSPOSE.search(answer))


def is_literal(text: str) -> bool:
    """Whether a text is compared as it is, without math-verify."""
    return literal_equal(text, text) is not None


def words_of(text: str) -> str | None:
    """Read a text of words, in small letters; None if it may be a product of variables."""
    plain = TEXT.sub(r"\1", text)
    upright = plain != text
    plain = re.sub(r"\\[ ,;:!]|[~$]", " ", plain).strip()
    if not _WORDS.fullmatch(plain):
        return None
    words = plain.rstrip(".!").casefold().split()
    if all(len(word) == 1 or word in _JOINERS for word in words) or any(word in _SYMBOLS for word in words):
        return None
    if (
        not upright
        and len(words) == 1
        and len(words[0]) == 2
        and words[0] not in _SHORT
        and not _CODE.fullmatch(plain)
    ):
        return None
    return " ".join(words)


def _words(gold: str, answer: str) -> bool | None:
    read = words_of(gold), words_of(answer)
    return None if read == (None, None) else read[0] == read[1]


def _worded(gold: str, answer: str) -> bool | None:
    read = worded(gold), worded(answer)
    return None if read == (None, None) else read[0] == read[1]


def _marks(gold: str, answer: str) -> bool | None:
    read = [_marks_of(text) for text in (gold, answer)]
    return None if read == [[], []] else key(gold) == key(answer)


def _marks_of(text: str) -> list[str]:
    if not any(sign in text for sign in ("'", "\\", "...", "f", "w", "m", "u")):
        return []
    plain = TEXT.sub(r" \1 ", text)
    return [match[0] for pattern in (ELLIPSIS, _CONDITION, PRIME) for match in pattern.finditer(plain)]


def _angles(gold: str, answer: str) -> bool | None:
    """Compare angles at a point: those of ABC and CBA are one, that of BAC is another."""
    read = [_ANGLE.fullmatch(key(text)) for text in (gold, answer)]
    names = [match.groups() for match in read if match]
    return names[0] in (names[1], names[1][::-1]) if len(names) == 2 else None


def _written(gold: str, answer: str) -> bool | None:
    """Compare what math-verify would compute or cut: derivatives, "is not", words of other scripts."""
    is_written = any(
        _QUOTIENT.fullmatch(key(text)) or _NOT_EQUAL.match(text) or is_asian(text) for text in (gold, answer)
    )
    return key(gold) == key(answer) if is_written else None


_COMPARED = (times, dates, _worded, bases, ranges, telephones, ratios, _words, _angles, _marks, _written)
