"""Letters of a multiple choice in text: the one that a text names as its answer."""

from __future__ import annotations

import re

from apo_core.verifiers.choice_denied import (
    ANOTHER,
    END,
    START,
    end_of_letter,
    is_called_wrong,
    is_denied,
    letter_of,
)
from apo_core.verifiers.notation import to_ascii

_OPEN = r"[(\[<【「『\"]?\s*"
_CLOSE = r"\s*[)\]>】」』\"]?"
_CALLED = r"(?:the\s+)?(?:(?:correct|right|best)\s+)?(?:option|choice|letter|answer)\s*(?:is|:|=)?\s*"
_WRAPPING = re.compile(
    r"\\(?:text(?:bf|rm|it|sf)?|math(?:rm|bf|sf)?|boxed|bf|rm)\s*(?=\{)|\\[ ,;:()]|[*$`{}~]"
)
_REPEATED = re.compile(r"[^\S\n]+")
_EMPTY_LINES = re.compile(r" ?\n\s*")  # patterns below are not linear in white space

_SINGLE = re.compile(r"(?![^A-Za-z]*[不非])\W*([A-Ja-j])(?![-+#])\W*", re.ASCII)
# A letter before the text of its option: "(B) Vitamin C", "B) ...", "B: ...", "B. ...", "B - ..."; not "A.M."
_LABEL = re.compile(
    r"(?:[(\[]\s*([A-Ja-j])\s*[)\]][.:]?|([A-J])\s*(?:[).:\]、。](?![A-Z]\.)|\s[-\u2014]\s)|([a-j])\s*[)\]])\s*(?=\S)"
)
_OPTIONS = re.compile(r"^\s*\(?[A-Ja-j][).:]", re.MULTILINE)  # of a list of options
_REASON = re.compile(
    r"(?:([B-HJ])\s+(?!(?:and|or|to|nor|but)\b)[a-z]|([AI])\s+(?:is|because|since|as)\b"
    r"|([A-J]),\s*(?:because|since|as|not)\b)"
)
_PREFIX = re.compile(
    r"(?:(?:so|thus|hence|therefore|final|the|my|correct|right|best|answer|option|choice|letter|is|it)\b[\s,:]*)+",
    re.IGNORECASE,
)
_LIST = re.compile(r"(?:\W|\band\b|\bor\b|\b[A-J]\b)*")
_SEVERAL_AS_TEXT = re.compile(r"[A-J](?:,\s?[A-J]){0,8},?\s+(?:and|or)\s+[A-J]\W*")  # "B. A and C"
_ANOTHER_LABEL = re.compile(r"[,;\n]\s*\(?[A-J]\s*[).:]\s")

_IS = (
    r"(?:\s*(?:(?:is|are|was|be|=|:|would be|should be|must be|will be)\s*)+|\s+)"
    rf"{_OPEN}(?:(?:both|either)\s+)?(?:{_CALLED})?"
)
_ADVERB = r"(?:(?:therefore|thus|clearly|definitely|simply|indeed|actually|still|also)\s+)?"
_RIGHT = (
    rf"\s+(?:is|must be|would be|should be)\s+{_ADVERB}(?:the\s+)?(?:only\s+|most\s+)?"
    r"(?:correct|right|best|true|valid|answer)\b"
)
_CHOSEN = (
    r"(?:choose|chose|choosing|select|selecting|selected|pick|picked|picking|go(?:ing)? with|went with)\s+"
)
_ANSWER = (
    r"(?:answers?|solutions?|(?:correct|right|best|final)\s+(?:option|choice|letter|one)s?)"
    r"(?:,?\s+(?:here|then|now|therefore|thus|overall|in\s+(?:this|that)\s+(?:case|context))\b,?)?"
)
_NAMED_LETTER = rf"{_OPEN}([A-J])(?!\s+(?<=I )[a-z]){END}"
# In Chinese, Japanese and Korean: "the answer (is)", "choose"; "is right", "is the answer".
_CJK_ANSWER = (
    r"(?:答案|答え|答|正解|选择|選擇|選択|选|選|정답|답)"
    r"(?:项|項|肢)?\s?[】\]」]?(?:\s*(?:应该|應該|应|應|为|為|是|は|が|은|는|选|選|:|=)){0,4}\s*"
)
_CJK_RIGHT = (
    r"\s*(?:选项|選項|项|項)?\s*(?:是)?\s*"
    r"(?:正确|正確|对|對|が正|が答|です|を選|입니다)"
)
# "it is B.", "I say B": at the end of a clause only
_IT_IS = (
    r"\b(?:it(?:'s|\s+(?:is|(?:must|should|has\s+to)\s+be))|I(?:'d|\s+would)?\s+(?:say|answer|conclude))\s+"
)
_CLAUSE_ENDS = r"(?=\s*[)\]>】」』\"]?\s*(?:[.,;!。]|$|\n|(?:because|since|as)\b))"
# "Both A and B are correct", "A和B都正确"
_ALL_RIGHT = (
    rf"{START}(?P<several>[A-J]){END}(?:{ANOTHER}[(\[]?(?:(?i:option)\s+)?[A-J]{END}){{1,9}}+[)\]]?"
    r"(?i:\s+(?:are|were|seem|look)\s+(?:(?:both|all|also|equally)\s+)?(?:the\s+)?(?:correct|right|true|valid|best|answers?)\b"
    r"|\s*(?:都|均|皆)?\s*是?\s*(?:正确|正確|对|對))"
)
_DECLARATION = re.compile(
    rf"{_ALL_RIGHT}"
    rf"|(?i:\b{_ANSWER}(?:\s+(?:to|for|of)\s+[^.\n]{{0,40}}?)?{_IS}){_NAMED_LETTER}"
    rf"|(?i:\b{_CHOSEN}(?:{_CALLED})?){_NAMED_LETTER}"
    rf"|(?i:{_IT_IS}(?:{_CALLED})?){_NAMED_LETTER}{_CLAUSE_ENDS}"
    rf"|{START}([A-J]){END}{_CLOSE}(?i:{_RIGHT})"
    rf"|{_CJK_ANSWER}{_NAMED_LETTER}"
    rf"|{START}([A-J]){END}{_CLOSE}{_CJK_RIGHT}"
)
# Further letters joined to one: "A and B", "A, B or C", "A/B"; not "A, and B is wrong"
_AND_MORE = re.compile(
    rf"(?:{ANOTHER}[(\[]?(?:option\s+)?[A-J]{END}){{1,9}}[)\]]?"
    r"(?!\s*(?:is|are|was|were|do|does|has|have|can|cannot|fails?|would|looks?|seems?|gives?|[a-z]+s)\b|\s*[).:]\s*\w)"
)
# A letter that is a clause of its own at the end of a line: "No, B.", "(B)", "A or B? B"
_CLAUSE = re.compile(
    rf"(?:^|[.:;!?=\n。、]|(?<![A-J]),)\s*(?:(?i:so|thus|hence|therefore|it is|it's)[\s,]+)?"
    rf"{_OPEN}([A-J]){_CLOSE}"
    r"\s*(?:[.!。]\s*)?(?:$|\n)"
)
# "A" and "I" before a lower-case word are English words and no choices, unless they follow "is", a colon, or
# the word that says what they are, or the next word joins or explains. A lower-case letter counts only in
# brackets. Before a verb "A" is a choice: "A satisfies it".
_ARTICLE = r"\s+(?!(?:and|or|nor|because|since|but)\b)[a-z]"
_VERB = (
    r"\s+(?:is|was|can(?:not|\s+(?:be|not|only|also|never))|could|must(?!-)|may|might|would"
    r"|should|will\s+(?:be|have|not)|does|has|had"
    r"|(?:best|clearly|correctly|directly|only|also|better|actually)\s+[a-z]{2,}(?<![us])s"
    r"|satisfies|fits|describes|matches|works|holds|gives|represents|shows|explains|follows|applies|contains|makes"
    r"|seems|looks|meets|agrees|corresponds|completes|answers|remains|provides|supports|reflects|states|says|mentions|fails)\b"
)
_LETTER = re.compile(
    rf"{START}(?:[B-HJ]|A(?={_VERB})|(?:(?<=is )|(?<=: )|(?<=ption )|(?<=hoice )|(?<=nswer ))[AI]"
    rf"|[AI](?!{_ARTICLE})){END}"
    r"|(?<=\()[a-j](?=\))"
)
# "Hepatitis B", "Vitamin D", "group A": a letter that belongs to the name before it.
_IN_A_NAME = re.compile(
    r"(?:\b(?!(?:Option|Choice|Answer|Letter|So|Thus|Hence|Therefore|Is|Not|Select|Choose|Pick|Or|And|Only"
    r"|Both|Neither|Either|Than|Then|With|It|The|Correct|Final|Maybe|Perhaps|But|Because|Since|Statement)\b)[A-Z][a-z]+"
    r"|\b(?:vitamin|hepatitis|type|group|grade|figure|point|class|team|plan|section|influenza))\s$"
)


def unwrapped(text: str) -> str:
    """Drop what stands around letters: bold face, dollars, boxes, LaTeX's text; full width becomes ASCII."""
    text = _REPEATED.sub(" ", _WRAPPING.sub(" ", to_ascii(text)))
    return _EMPTY_LINES.sub("\n", text).strip()


def labelled(text: str) -> str | None:
    """Read a text that is one letter, or begins with a letter and the option's text behind it."""
    for start in (0, prefix.end() if (prefix := _PREFIX.match(text)) else 0):
        if letter := _single(text, start):
            return letter
        label = _LABEL.match(text, start)
        if (
            label
            and not _lists_what_is_wrong(text, label)
            and (not _LIST.fullmatch(text, label.end()) or _SEVERAL_AS_TEXT.fullmatch(text, label.end()))
        ):
            return letter_of(label).upper()
    return None


def _lists_what_is_wrong(text: str, label: re.Match[str]) -> bool:
    """Whether a label begins a list that is denied, as A、B均错误."""
    end = end_of_letter(label)
    return text[end] == "、" and is_called_wrong(text, end)


def _single(text: str, start: int = 0) -> str | None:
    single = _SINGLE.fullmatch(text, start)
    return single[1].upper() if single and not is_denied(text, single) else None


def marked_choice(text: str) -> str | None:
    """Read an answer that a mark points to; None if it gives no letter, or several."""
    if letter := labelled(text):
        return letter
    reason = _REASON.match(text)
    if reason and not is_called_wrong(text, reason.start() + 1):
        return letter_of(reason)
    several = len({match[0].upper() for match in _LETTER.finditer(text) if not is_denied(text, match)}) > 1
    return named(text) if not several or _DECLARATION.search(text) else None


def named(text: str) -> str | None:
    """Read the letter that a whole response names; None if none stands by itself.

    A sentence that says so ("the answer is B", "B is correct") counts before other letters, and the last of
    them unless a later line ends with a letter alone; else it is the last letter that stands by itself. A
    letter that the text denies counts nowhere, and a sentence that names several gives none.
    """
    if letter := _single(text):
        return letter
    declared = [match for match in _DECLARATION.finditer(text) if not is_denied(text, match)]
    if declared:
        later = [match for match in _CLAUSE.finditer(text) if match.start(1) > declared[-1].end()]
        last = declared[-1]
        if not later and (last["several"] or _is_joined(text, end_of_letter(last))):
            return None
        return letter_of(later[-1] if later else declared[-1])
    if len(_OPTIONS.findall(text)) < 2 and (letter := labelled(text)):
        return letter
    letters = [match for match in _LETTER.finditer(text) if not is_denied(text, match)]
    free = [
        match for match in letters if not _IN_A_NAME.search(text[max(0, match.start() - 24) : match.start()])
    ]
    chosen = free or letters
    return chosen[-1][0].upper() if chosen and not _is_one_of_several(text, chosen) else None


def _is_one_of_several(text: str, letters: list[re.Match[str]]) -> bool:
    """Whether the last of some letters is joined to another before it: "between A and B"."""
    if len(letters) < 2 or letters[-2][0].upper() == letters[-1][0].upper():
        return False
    return _is_joined(text, letters[-2].end(), letters[-1].end())


def _is_joined(text: str, end: int, last: int = 0) -> bool:
    """Whether further letters are joined to one that ends, up to a last one, and not said to be wrong."""
    further = _AND_MORE.match(text, end)
    return further is not None and further.end() >= last and not is_called_wrong(text, further.end())


def lists_options(text: str) -> bool:
    """Whether a text that begins with a label has another: "A: 5, B: 6"."""
    return _ANOTHER_LABEL.search(text) is not None


def letters_in(text: str) -> list[str]:
    """List the different letters that stand by themselves, in order."""
    return list(dict.fromkeys(match[0].upper() for match in _LETTER.finditer(text)))
