r"""Answers that are no expressions, or of which math-verify would cut a part off: compared as what they are.

Times of day, numbers in a base, ranges, ratios, words; and expressions with a condition, a modulus, an
ellipsis or a prime, which math-verify drops without a word.
"""

from __future__ import annotations

import re
from math import gcd

from apo_core.verifiers.math_words import worded

_SPACES = re.compile(
    r"\\(?:[ ,;:!]|quad|qquad|left|right|displaystyle|limits|big|Big)(?![A-Za-z])|\\[ ,;:!]|[\s$~]"
)
_TEXT = re.compile(r"\\(?:text|mathrm|mathbf|mbox|textrm|operatorname|mathit)(?:bf|rm|it)?\s*\{([^{}]*)\}")
_SINGLE = re.compile(r"\{([\w*])\}")
_TIME = re.compile(r"0?(\d{1,2}):([0-5]\d)(?::([0-5]\d))?\s*([ap])?\.?\s*(?:m\.?)?", re.IGNORECASE)
_DATE = re.compile(
    r"[12]\d{3}([-/.])(?:0?[1-9]|1[0-2])\1(?:0?[1-9]|[12]\d|3[01])"
    r"|(?:0?[1-9]|[12]\d|3[01])([-/.])(?:0?[1-9]|[12]\d|3[01])\2[12]\d{3}"
)
_TELEPHONE = re.compile(r"(?:\+?1[- ])?(?P<number>(?:(?:\(\d{3}\)\s?|\d{3}[- .])\d{3}|\d{3})-\d{4})")
_BASE = re.compile(r"(-?[0-9A-Fa-f]+(?:\.[0-9A-Fa-f]+)?)_(?:\{?(\d+|[a-z]{3,})\}?)")
_RANGE = re.compile(r"(\d+(?:\.\d+)?)(?:-|--)(\d+(?:\.\d+)?)")
_RATIO = re.compile(r"\d+(?::\d+){2,9}")
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
_NAMES = [
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
]
_ELLIPSIS = re.compile(r"\.{3,}|\\[lc]?dots(?![A-Za-z])")
_CONDITION = re.compile(
    r"\\(?:forall|exists|nexists|pmod|bmod|mod|equiv|neg|lor|land|vee|wedge|iff|implies|Rightarrow)(?![A-Za-z])"
    r"|(?<![A-Za-z\\])(?:for|if|when|where|such that|unless|except|mod|whenever)(?![A-Za-z])"
)
_PRIME = re.compile(r"(?<=[A-Za-z)}])(?:'+|\^\{?(?:\\prime\s*)+\}?)")
_DERIVATIVE = re.compile(
    r"([A-Za-z](?:'+|\^\{?(?:\\prime\s*)+\}?)(?:\([A-Za-z]\))?)\s*=(?!.*=)(.*)", re.DOTALL
)
_CONCLUSION = re.compile(r"\\(?:implies|Rightarrow|Longrightarrow|therefore)(?![A-Za-z])")
_MODULUS = re.compile(r"^(?:([A-Za-z])\s*\\equiv\s*)?(-?\d+)\s*(?:\\[ ,;:!]|\s)*\\pmod\{(\w+)\}$")


def key(text: str) -> str:
    """Make texts alike that differ by spaces, sizes of brackets and upright letters only."""
    text = _TEXT.sub(r"\1", text).replace("\\dfrac", "\\frac").replace("\\tfrac", "\\frac")
    text = _ELLIPSIS.sub(
        "...", _PRIME.sub(lambda match: "'" * (match[0].count("prime") or len(match[0])), text)
    )
    text = _SINGLE.sub(r"\1", _SPACES.sub("", text))
    return text.removesuffix(".") if not text.endswith("..") else text


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
    for compare in (_times, _dates, _worded, _bases, _ranges, _telephones, _ratios, _words, _marks):
        equal = compare(gold, answer)
        if equal is not None:
            return equal
    return None


def is_literal(text: str) -> bool:
    """Whether a text is compared as it is, without math-verify."""
    return literal_equal(text, text) is not None


def words_of(text: str) -> str | None:
    """Read a text of words, in small letters; None if it may be a product of variables."""
    plain = _TEXT.sub(r"\1", text)
    upright = plain != text
    plain = re.sub(r"\\[ ,;:!]|[~$]", " ", plain).strip()
    if not _WORDS.fullmatch(plain):
        return None
    words = plain.rstrip(".!").casefold().split()
    if all(len(word) == 1 or word in _JOINERS for word in words) or any(word in _SYMBOLS for word in words):
        return None
    if not upright and len(words) == 1 and len(words[0]) == 2 and words[0] not in _SHORT:
        return None
    return " ".join(words)


def _words(gold: str, answer: str) -> bool | None:
    read = words_of(gold), words_of(answer)
    return None if read == (None, None) else read[0] == read[1]


def _worded(gold: str, answer: str) -> bool | None:
    read = worded(gold), worded(answer)
    return None if read == (None, None) else read[0] == read[1]


def _times(gold: str, answer: str) -> bool | None:
    read = [_TIME.fullmatch(_plain(text)) for text in (gold, answer)]
    if not any(read):
        return None
    if not all(read):
        return False
    first, other = ([part.casefold() if part else "" for part in match.groups()] for match in read if match)
    same_half = first[3] == other[3] or not first[3] or not other[3]
    if [int(part or 0) for part in first[:3]] == [int(part or 0) for part in other[:3]] and same_half:
        return True
    return bool(first[3] or other[3]) and _seconds(first) == _seconds(other)


def _seconds(time: list[str]) -> int:
    hour, minute, second = (int(part or 0) for part in time[:3])
    if time[3] and hour <= 12:
        hour = hour % 12 + 12 * (time[3] == "p")
    return (hour * 60 + minute) * 60 + second


def _dates(gold: str, answer: str) -> bool | None:
    read = [_DATE.fullmatch(_plain(text)) for text in (gold, answer)]
    if not any(read):
        return None
    parts = [[int(part) for part in re.split(r"\D", match[0])] for match in read if match]
    return len(parts) == 2 and parts[0] == parts[1]


def _telephones(gold: str, answer: str) -> bool | None:
    read = [_TELEPHONE.fullmatch(_plain(text)) for text in (gold, answer)]
    if not any(read):
        return None
    numbers = [re.sub(r"\D", "", match["number"]) for match in read if match]
    return len(numbers) == 2 and numbers[0] == numbers[1]


def _bases(gold: str, answer: str) -> bool | None:
    own, other = _BASE.fullmatch(key(gold)), _BASE.fullmatch(key(answer))
    if own and other:
        return own[1].casefold() == other[1].casefold() and _base(own[2]) == _base(other[2])
    if own:  # the question names the base, and the answer need not
        return own[1].casefold() == key(answer).casefold()
    if other and key(gold).lstrip("-").isdigit():
        return _value(other[1], _base(other[2])) == int(key(gold))
    return False if other and "_" not in gold else None


def _base(name: str) -> int:
    return int(name) if name.isdigit() else _NAMES.index(name) + 2 if name in _NAMES else 0


def _value(digits: str, base: int) -> int | None:
    if not 2 <= base <= 36 or "." in digits or any(int(digit, 36) >= base for digit in digits.lstrip("-")):
        return None
    return int(digits, base)


def _ranges(gold: str, answer: str) -> bool | None:
    read = [_RANGE.fullmatch(key(text)) for text in (gold, answer)]
    ends = [
        (float(match[1]), float(match[2])) for match in read if match and float(match[1]) < float(match[2])
    ]
    return None if not ends else len(ends) == 2 and ends[0] == ends[1]


def _ratios(gold: str, answer: str) -> bool | None:
    read = [_RATIO.fullmatch(key(text)) for text in (gold, answer)]
    if not any(read):
        return None
    parts = [_lowest([int(part) for part in match[0].split(":")]) for match in read if match]
    return len(parts) == 2 and parts[0] == parts[1]


def _lowest(parts: list[int]) -> list[int]:
    divisor = gcd(*parts) or 1
    return [part // divisor for part in parts]


def _marks(gold: str, answer: str) -> bool | None:
    read = [_marks_of(text) for text in (gold, answer)]
    return None if read == [[], []] else key(gold) == key(answer)


def _marks_of(text: str) -> list[str]:
    if not any(sign in text for sign in ("'", "\\", "...", "f", "w", "m", "u")):
        return []
    plain = _TEXT.sub(r" \1 ", text)
    return [match[0] for pattern in (_ELLIPSIS, _CONDITION, _PRIME) for match in pattern.finditer(plain)]


def _plain(text: str) -> str:
    return re.sub(r"\\[ ,;:!]|[$~]", " ", _TEXT.sub(r"\1", text)).strip()
