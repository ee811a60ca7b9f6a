"""Numbers, signs and spaces of Unicode, written in ASCII."""

from __future__ import annotations

import re
import unicodedata

_MINUS = "\u2010\u2011\u2012\u2013\u2212\ufe58\ufe63\uff0d\u2796"
_SIGNS = str.maketrans(
    dict.fromkeys(_MINUS, "-")
    | {
        "\u2044": "/",  # fraction slash
        "\u2215": "/",  # division slash
        "\u2236": ":",  # ratio
        "\u066b": ".",  # Arabic decimal separator
        "\u066c": ",",  # Arabic thousands separator
        "\u2019": "'",
        "\u02bc": "'",
        "\u2032": "'",  # prime
        "\u2033": "''",
        "\u22ef": "...",
        "\u2217": "*",
        "\u200b": None,  # zero-width space, joiner, no-break space; soft hyphen
        "\u2060": None,
        "\ufeff": None,
        "\u00ad": None,
    }
)
_RAISED = re.compile("[\u2070\u00b9\u00b2\u00b3\u2074-\u207b\u207f\u2071]+")
_LOWERED = re.compile("[\u2080-\u2089]+")
_BASE = re.compile("(?<=[0-9])[\u2080-\u2089]+")
_FRACTION = re.compile(r"(?P<whole>\d\s*)?(?P<fraction>[\u00bc-\u00be\u2150-\u215e\u2189])")


def to_ascii(text: str) -> str:
    """Rewrite compatible characters: full-width ones, minus signs, thin spaces, fractions, other digits.

    Raised and lowered digits become `^{2}` and `_{2}`, a fraction `1/2`, behind a number ` 1/2`. Characters
    without an ASCII form stay.
    """
    if text.isascii():
        return text
    text = raised_in_ascii(text)
    text = _LOWERED.sub(lambda match: f"_{{{_plain(match[0])}}}", text)
    text = _FRACTION.sub(_written_out, text)
    text = unicodedata.normalize("NFKC", text.translate(_SIGNS)).translate(_SIGNS)
    return "".join(map(_digit, text))


def raised_in_ascii(text: str) -> str:
    """Rewrite raised digits as `^{2}`, which compatibility decomposition would make digits like others."""
    return _RAISED.sub(lambda match: f"^{{{_plain(match[0])}}}", text)


def based_in_ascii(text: str) -> str:
    """Rewrite lowered digits behind a digit as `_{2}`; behind a letter they may be like others (H2O)."""
    return _BASE.sub(lambda match: f"_{{{_plain(match[0])}}}", text)


def _plain(text: str) -> str:
    return unicodedata.normalize("NFKC", text).translate(_SIGNS)


def _written_out(match: re.Match[str]) -> str:
    fraction = _plain(match["fraction"])
    return f"{match['whole'].strip()} {fraction}" if match["whole"] else fraction


def _digit(character: str) -> str:
    if character.isascii():
        return character
    value = unicodedata.decimal(character, None)
    return character if value is None else str(value)
