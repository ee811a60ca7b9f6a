"""Letters of a multiple choice that a text says are not the answer, or only supposes to be it."""

from __future__ import annotations

import re

# Latin, Greek and Cyrillic letters, digits and apostrophes join a letter to a word, and so do signs: C++, C#,
# A.M.; Chinese and Japanese characters do not.
_WORD = "0-9A-Za-z_'\u00c0-\u024f\u0370-\u03ff\u0400-\u04ff"
START = rf"(?<![{_WORD}\\])(?<!\b[A-Z]\.)"
END = rf"(?![{_WORD}]|-[A-Za-z]|\+(?!\s?[A-J])|#(?!#)|\.[A-Z]\.)"
# No way back into what has matched (`*+`): the time would be another for every way
ANOTHER = r"\s*+[)\]]?+\s*+(?:[,/&、+]\s*+|\b(?:and|or)\b\s*+|[和或及与]\s*+){1,3}+"

_DENIED = re.compile(
    r"(?:\b(?:not|cannot|never|nor|neither|except|anything but|(?:other|rather) than|instead of)\b|n't|不|非)"
    r"(?:(?!\bbut\b)[ \w:(「]){0,14}\Z",
    re.IGNORECASE,
)
# "We can rule out options A, B and C", 排除B
_RULED_OUT = re.compile(
    r"(?:\b(?:(?:rul(?:e|es|ed|ing) out|eliminat(?:e|es|ed|ing)|exclud(?:e|es|ed|ing)|discard(?:s|ed|ing)?"
    r"|reject(?:s|ed|ing)?|dismiss(?:es|ed|ing)?|none of)\b)|排除了?)(?!\s*,)"
    r"(?:(?i:options?|choices?|answers?|both|the|and|or)\b|选项|[A-J](?![A-Za-z])|[ ,、/&(「:和与及])*\Z",
    re.IGNORECASE,
)
_FALSE = (
    r"(?:not(?!\s(?:only|just|wrong|incorrect|false)\b)"
    r"|wrong|incorrect|false|impossible|eliminated|excluded|ruled out|discarded|rejected|irrelevant"
    r"|unrelated|inconsistent|inaccurate|invalid|untrue|unsupported|unlikely|too)\b"
)
_AS_FALSE = (
    rf"(?:is|are|was|were|looks?|seems?|(?:must|has to|have to|can|could|may|should) be)"
    rf"(?:n't\b|\s+(?:(?:clearly|also|both|all|therefore|thus|definitely|simply)\s+)*{_FALSE})"
    r"|(?:can|do|does|did|would|could|will|should|has|have)(?:\s?not|n't)\b|can't\b|won't\b"
)
_WRONG = re.compile(rf"\s*[)\]]?\s*(?:{_AS_FALSE}|(?:fails|contradicts|lacks)\b)")
# "B, C and D are wrong"; "A and B is wrong" and "A, and B cannot be" are about B
_ALL_WRONG = re.compile(
    rf"(?:{ANOTHER}[A-J]{END}){{1,9}}+\s*+(?:(?:are|were|look|seem)(?:n't\b|\s+(?:(?:clearly|both|all|also|therefore)\s+)*{_FALSE})"
    r"|(?:do|have)(?:\s?not|n't)\b|fail\b)"
)
# 错误, 不正确, 不符合, ではない; "选B不选A" takes B, and 不错, 不仅, 不变 are no denials
_WRONG_IN_CJK = re.compile(
    rf"(?:\s*+[、和与及]\s*+[A-J]{END}){{0,9}}+\s*+[)\]】]?+\s*+(?:选项|選項|项|項|肢)?+\s*+(?:的?(?:说法|表述|描述))?+\s*+"
    r"(?:是|也|都|均|明显|显然|は|が|も|은|는)?+\s*+"
    r"(?:错(?!位|开|觉)|錯|误(?!差)|誤|有误|无关|ではな|じゃな|でな|違|間違|아니|틀"
    r"|不(?!(?:选|選|是)\s*[A-J])(?:正确|正確|对(?!称)|對|符|成立|是|选|選|能|可|行|合|属|满足|适|准确|恰当|当|妥|严谨|科学|全面"
    r"|应|会|支持|匹配|一致|相符))"
)
_SUPPOSED = re.compile(
    r"\b(?:if|whether|suppose|supposing|assume|assuming|unless|while|although|though|whereas)"
    r"(?:\s+(?:that|the|both|option|choice|answer|statement|letter|correct|best)\b){0,3}\s+\(?$",
    re.IGNORECASE,
)


def is_denied(text: str, match: re.Match[str]) -> bool:
    """Whether a text says that a letter is not the answer, or only supposes or concedes that it is."""
    end = end_of_letter(match) if match.groups() else match.end()
    if _SUPPOSED.search(text[max(0, match.start() - 40) : match.start()]) or is_called_wrong(text, end):
        return True
    before = text[max(0, end - 50) : end - 1]
    return _DENIED.search(before[-24:]) is not None or _RULED_OUT.search(before) is not None


def is_called_wrong(text: str, end: int) -> bool:
    """Whether what is behind a letter says that it is wrong."""
    if _WRONG.match(text, end) or _WRONG_IN_CJK.match(text, end):
        return True
    return _ALL_WRONG.match(text, end) is not None


def letter_of(match: re.Match[str]) -> str:
    """Return the letter that one of a match's groups is."""
    return next(letter for letter in match.groups() if letter)


def end_of_letter(match: re.Match[str]) -> int:
    """Find where the letter of `letter_of` ends."""
    return next(match.end(group) for group in range(1, len(match.groups()) + 1) if match[group])
