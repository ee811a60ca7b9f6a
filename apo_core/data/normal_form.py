"""Normal form of a text: its words and numbers without case, punctuation and white space."""

from __future__ import annotations

import hashlib
import re
import unicodedata

# Punctuation of prose; any other character (an emoji, a vowel sign) belongs to a word.
_PROSE = re.escape(".,;:!?'\"`´“”‘’‚„«»‹›…·•()[]{}-–—−_#$€£¥\\*¿¡、。，？！")
_OPERATORS = re.escape("+/=^%<>&@|~×÷")
# Scripts that write no spaces: every character counts as a word.
_UNSPACED = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af"
_BRACKET = r"[()\[\]{}<>]"
_TOKEN = re.compile(
    rf"([^\s\d{_PROSE}{_OPERATORS}{_UNSPACED}]+"
    r"|\d+(?:\.\d+)?|(?<![\w.])\.\d+"
    rf"|[{_OPERATORS}{_UNSPACED}]"
    # A single bracket is prose; adjacent brackets are the subject of the text, and count.
    rf"|{_BRACKET}(?=\s*{_BRACKET})|(?<={_BRACKET}){_BRACKET}|(?<={_BRACKET}\s){_BRACKET}"
    # A dash or star before an operand subtracts or multiplies; others are hyphens or emphasis.
    r"|[-–−*](?=\s*(?:[\d(\\]|\.\d|[^\W\d_](?!\w))))\s*"
)
_APOSTROPHE = re.compile(r"(?<=\w)['’](?=\w)")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_COUNTED = """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen
sixteen seventeen eighteen nineteen twenty"""
_NUMBERS = {word: str(number) for number, word in enumerate(_COUNTED.split())} | {
    "thirty": "30",
    "forty": "40",
    "fifty": "50",
    "sixty": "60",
    "seventy": "70",
    "eighty": "80",
    "ninety": "90",
    "hundred": "100",
    "thousand": "1000",
    "million": "1000000",
    "dozen": "12",
    "half": "1/2",
    "third": "1/3",
    "quarter": "1/4",
    "twice": "2x",
    "double": "2x",
    "thrice": "3x",
    "triple": "3x",
}


def words_of(text: str) -> list[str]:
    """Split a text into words in folded case, numbers in digits and operators, without punctuation.

    `Seven-year-old Ann's 1,200 dollars` is `7 year old anns 1200 dollars`. Signs of arithmetic stay, because
    `3+4` and `3-4` are different questions.
    """
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    text = _THOUSANDS.sub("", text.casefold())
    return [_NUMBERS.get(token, token) for token in _TOKEN.findall(_APOSTROPHE.sub("", text))]


def numbers_of(words: list[str]) -> tuple[str, ...]:
    """List the numbers among the words, in order."""
    return tuple([word for word in words if word[0] in "0123456789."])


def normal_form(words: list[str]) -> str:
    """Join words without spaces; numbers and operators keep spaces around them."""
    return "".join([word if word.isalpha() else f" {word} " for word in words])


def normal_hash(prompt: str) -> int:
    """Hash a prompt's normal form to 64 bits; the prompt itself if its normal form is empty."""
    form = normal_form(words_of(prompt)) or prompt
    return int.from_bytes(hashlib.blake2b(form.encode(), digest_size=8).digest(), "big")
