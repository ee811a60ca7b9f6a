"""Normal form of a text: its words and numbers without case, punctuation and white space."""

from __future__ import annotations

import hashlib
import re
import unicodedata

from apo_core.data.written_numbers import in_digits, join_tens

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
    # So does one that groups: beside a product, a power or a difference, or behind a number.
    r"|[)\]](?=\s?(?:[*/^×÷]|factorial))|(?<=[*/^×÷\d])[(\[]|(?<=[*/^×÷-]\s)[(\[]|(?<=[\W\d]-)[(\[]|(?<=\b\w-)[(\[]"
    # A dash or star before an operand subtracts or multiplies; others are hyphens or emphasis.
    r"|[-–−*](?=\s*(?:[\d(\\]|\.\d|[^\W\d_](?!\w))))\s*"
)
_APOSTROPHE = re.compile(r"(?<=\w)['’](?=\w)")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
# Behind a whole number or a single letter: 5!, n!, (2n)!
_FACTORIAL = re.compile(r"(?<![\w.])(\d+|\d*[a-z]|\([^()]{0,20}(?:\d|(?<![^\W\d_])[a-z])\))(!+)")
# Behind a single letter that no quote stands before: f'(2), y''
_PRIME = re.compile(r"(?<![\w'’])([a-z])(['’′]{1,3})(?![\w'’])")


def words_of(text: str) -> list[str]:
    """Split a text into words in folded case, numbers in digits and operators, without punctuation.

    `Seven-year-old Ann's 1,200 dollars` is `7 year old anns 1200 dollars`. Signs of mathematics stay, because
    `3+4` and `3-4`, `5!` and `5`, `f'(2)` and `f(2)`, `(1+2)*3` and `1+2*3` are different questions.
    """
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text).replace("⁄", "/")  # ½ becomes 1⁄2
    text = _THOUSANDS.sub("", text.casefold())
    if "!" in text:
        text = _FACTORIAL.sub(lambda match: match[1] + len(match[2]) * " factorial ", text)
        text = text.replace(" !=", " ≠")
    if not {"'", "’", "′"}.isdisjoint(text):
        text = _APOSTROPHE.sub("", _PRIME.sub(lambda prime: prime[1] + len(prime[2]) * " prime ", text))
    return in_digits(_TOKEN.findall(join_tens(text)))


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
