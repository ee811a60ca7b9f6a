"""Names of the people who decide: one spelling each, and whether two names may be one person's.

A typed name proves nothing; what these rules can do is to refuse the spellings by which one person passes for
another, or for two. See Unicode Technical Standard 39 on confusable letters.
"""

from __future__ import annotations

import unicodedata

# Letters that look like a Latin one, of names that are Cyrillic or Greek throughout.
_LOOK_ALIKE = str.maketrans(
    "аеорсухіјѕһԁԛԝьвмнткзбαορνυικτχεηωγ",
    "aeopcyxijshdqwbbmhtk36aopvuiktxenwy",
)
# Letters that Unicode does not decompose, and those that look like others in many typefaces.
_PLAIN = str.maketrans(
    {"ł": "l", "ø": "o", "đ": "d", "ħ": "h", "ı": "l", "i": "l", "1": "l", "0": "o", "æ": "ae", "œ": "oe"}
)
# Marks that are not shown; Unicode's Default_Ignorable_Code_Point, as far as it is no control character.
_NOT_SHOWN = {0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x3164, 0xFFA0}
_NOT_SHOWN |= {*range(0x180B, 0x1810), *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)}
_EAST_ASIAN = {"CJK", "HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA", "HANGUL", "BOPOMOFO", "IDEOGRAPHIC"}


def spelling(name: str) -> str:
    """One spelling of a name: compatible characters, each run of spaces as one space."""
    return " ".join(unicodedata.normalize("NFKC", name).split())


def problem_of(name: str) -> str:
    """What is wrong with a name in one spelling; empty if nothing is.

    A letter of another alphabet within a word looks like a name that it is not; a character that cannot be
    seen makes two names of one.
    """
    if not name:
        return "the name is empty"
    for character in name:
        if unicodedata.category(character)[0] == "C" or ord(character) in _NOT_SHOWN:
            return f"{name!a} has a character that cannot be seen: U+{ord(character):04X}"
    for word in name.split():
        alphabets = sorted({_alphabet(letter) for letter in word if letter.isalpha()})
        if len(alphabets) > 1:
            return f"{name!r} mixes letters of {' and '.join(alphabets)} in one word"
    return ""


def may_be_same_person(name: str, other: str) -> bool:
    """Whether two names may be one person's, so that they count as one where two people are required.

    Case, accents, punctuation and the order of words do not tell people apart, nor do letters that look
    alike; and who has fewer words or initials may be who has more: "Ada L." is "Ada" and "Ada Lovelace".
    """
    short, long = sorted((_words(name), _words(other)), key=len)
    if "".join(short) == "".join(long):
        return True
    rest = sorted(long, key=len, reverse=True)  # a whole word is taken for its like before an initial is
    for word in sorted(short, key=len, reverse=True):
        match = next((own for own in rest if _may_be_same_word(word, own)), None)
        if match is None:
            return False
        rest.remove(match)
    return True


def _may_be_same_word(word: str, other: str) -> bool:
    return word == other or (min(len(word), len(other)) == 1 and word[0] == other[0])


def _words(name: str) -> list[str]:
    decomposed = unicodedata.normalize("NFKD", spelling(name).casefold())
    letters = [letter for letter in decomposed if not unicodedata.combining(letter)]
    seen = "".join(letter if letter.isalnum() else " " for letter in letters).translate(_LOOK_ALIKE)
    seen = seen.translate(_PLAIN)
    return seen.split()


def _alphabet(letter: str) -> str:
    first = unicodedata.name(letter, "UNKNOWN").split()[0]
    return "EAST ASIAN" if first in _EAST_ASIAN else first
