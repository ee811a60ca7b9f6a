r"""Answers in mathematics, rewritten as the LaTeX that math-verify reads.

What people write and math-verify does not read: signs of Unicode, currencies, units in plain words, groups
of thousands, E notation, repeating decimals, mixed numbers.
"""

from __future__ import annotations

import re
from typing import Final

from apo_core.verifiers.latex import TEXT, UPRIGHT
from apo_core.verifiers.math_asian import circled, without_words
from apo_core.verifiers.math_style import unstyled
from apo_core.verifiers.math_units import SPACE, without_unit
from apo_core.verifiers.notation import to_ascii

_COMMANDS: Final = {
    "\u221e": r"\infty", "\u03c0": r"\pi", "\u00d7": r"\times", "\u00b7": r"\cdot", "\u22c5": r"\cdot",
    "\u00f7": r"\div", "\u2264": r"\le", "\u2a7d": r"\le", "\u2265": r"\ge", "\u2a7e": r"\ge",
    "\u2260": r"\ne",
    "\u00b1": r"\pm", "\u2213": r"\mp", "\u2205": r"\emptyset", "\u222a": r"\cup",
    "\u2229": r"\cap",
    "\u2208": r"\in", "\u2209": r"\notin", "\u2282": r"\subset", "\u2286": r"\subseteq",
    "\u00b0": r"^\circ",
    "\u2103": r"^\circ", "\u2109": r"^\circ", "\u211d": r"\mathbb{R}", "\u2124": r"\mathbb{Z}",
    "\u2115": r"\mathbb{N}", "\u211a": r"\mathbb{Q}", "\u2102": r"\mathbb{C}", "\u2192": r"\to",
    "\u21d2": r"\Rightarrow", "\u2200": r"\forall", "\u2203": r"\exists", "\u2261": r"\equiv",
    "\u2248": r"\approx", "\u230a": r"\lfloor", "\u230b": r"\rfloor", "\u2308": r"\lceil",
    "\u2309": r"\rceil",
    "\u2220": r"\angle", "\u25b3": r"\triangle", "\u2211": r"\sum", "\u222b": r"\int", "\u220f": r"\prod",
    "\u2016": r"\|", "\u27e8": r"\langle", "\u27e9": r"\rangle", "\u2026": r"\ldots", "\u22ef": r"\ldots",
    "\u03b1": r"\alpha", "\u03b2": r"\beta", "\u03b3": r"\gamma", "\u03b4": r"\delta", "\u03b5": r"\epsilon",
    "\u03b8": r"\theta", "\u03bb": r"\lambda", "\u03bc": r"\mu", "\u03c1": r"\rho", "\u03c3": r"\sigma",
    "\u03c4": r"\tau", "\u03c6": r"\phi", "\u03d5": r"\phi", "\u03c9": r"\omega", "\u0394": r"\Delta",
    "\u2206": r"\Delta", "\u03a3": r"\Sigma", "\u03a9": r"\Omega", "\u2126": r"\Omega",
}  # fmt: skip
_TABLE = str.maketrans({sign: f"{command} " for sign, command in _COMMANDS.items()} | {"\u3002": "."})
_ROOT = re.compile(r"([\u221a-\u221c])\s*(?:(?=[({])|(\d+(?:\.\d+)?|[A-Za-z]|\\[a-z]+))")
_INDEX = {"\u221a": "", "\u221b": "[3]", "\u221c": "[4]"}
_BRACKET = re.compile(r"[(){}]")

_GROUPED = re.compile(
    r"(?<=\d)(?:\\[,;:! ]|,\\!|\{,\}|~|'(?=\d{3})|(?<!\d[ ]\d)[\u2009\u202f\u00a0])(?=\d{3}(?!\d))"
)
_SPACED = re.compile(r"-?[1-9]\d{0,2}(?: \d{3})+(?:\.\d+)?|-?\d{1,2}(?:,\d{2})+,\d{3}(?:\.\d+)?")
_UPRIGHT = re.compile(rf"{TEXT}\{{\s*(-?[\d.,]+)\s*\}}")
_BLANKS = re.compile(r"\s{2,}")
_DIGIT = re.compile(r"\d")
_OPTION = re.compile(rf"^{TEXT}\{{\s*\([A-J]\)\s*\}}{SPACE}(?=\S)")
_CURRENCY = re.compile(
    rf"{TEXT}\{{\s*\\?\$\s*\}}|(?:\b(?:US|CA?|AU?|HK|NT|NZ|R|S))?\\\$|[\u20ac\u00a3\u00a5\u20b9\u20a9\u20bd\u00a2]|\\(?:pounds|euro|yen|cents?)(?![A-Za-z])"
    r"|\b(?:USD|EUR|GBP|JPY|CNY|RMB|INR|CAD|AUD|CHF|Rs\.?)(?=[\s\d]|\\|$)\s?|(?<=\d)\s?(?:USD|EUR|GBP|JPY|CNY|RMB|INR)\b"
)
_SCIENTIFIC = re.compile(r"(?<![\w.\\])(-?(?:\d+(?:\.\d*)?|\.\d+))[eE]([+-]?)0*(\d{1,4})(?![\w.]*[\w])")
_REPEATING = re.compile(r"(?<![\d.])(\d*)\.(\d*)(?:\\(?:overline|bar|dot)\s*\{(\d+)\}|\((\d+)\))")
_TWO_DOTS = re.compile(r"\\dot\s*\{(\d)\}(\d*)\\dot\s*\{(\d)\}")
_BLOCK = re.compile(r"(\d{2,6}?)\1+")
_DECIMAL_DOTS = re.compile(r"(?<![\d.])(\d*)\.(\d+)\s?(?:\.{3,}|\\[lc]?dots|\u2026)(?=\s*(?:$|[$})\]]))")
_MIXED = re.compile(r"(?<![\d/.^_{\\])(\d+)(?:\s|\\[ ,;:]|~)+(\d+)\s?/\s?(\d+)(?![\d/])")
_PERCENT = re.compile(
    rf"(?<=[\d)}}]){SPACE}(?:\\?%|{TEXT}\{{\s*(?:percent|pct|\\?%)\s*\}}|(?:percent|pct)\b)\.?$"
)
_DEGREES = re.compile(r"\\degrees?(?![A-Za-z])|\^\{?\\circ\}?")
_TEMPERATURE = re.compile(rf"\^\\circ{SPACE}(?:{TEXT}\{{\s*[CFK]\s*\}}|[CFK]\b)")
_MOD = r"(?:\\text\{\s*mod\s*\}|mod)"
_SAME = [
    (re.compile(r"(?<=\d)(?:\\[ ,;:!]|~|\s)+(?=\\%)"), ""),
    (re.compile(r"(?<=\d)\{\s*\}(?=\^)"), ""),
    (re.compile(r"\\ang\s*\{(-?[\d.]+)\}"), r"\1^\\circ"),
    (re.compile(r"\\varnothing|\\O(?![A-Za-z])|\\(?:text|mbox)\{\s*empty set\s*\}"), r"\\emptyset"),
    (re.compile(r"\\pmod\s*(\d|[a-z](?![a-z]))"), r"\\pmod{\1}"),
    (re.compile(rf"\((?:\\bmod|\\mod|{_MOD})(?:\\ |\s)*(\w+)\s*\)"), r"\\pmod{\1}"),
    (
        re.compile(
            r"(?<=\w)\s*(?:\\bmod(?![a-z])|\\mod(?![a-z])|\\text\{\s*mod\s*\})(?:\\ |\s)*\{?(\w+)\}?$"
        ),
        r" \\pmod{\1}",
    ),
    (re.compile(r"\^\s*(?:\\(?:top|intercal)(?![a-z])|\{\s*\\(?:top|intercal)\s*\})"), "^T"),
    (re.compile(r"\\neq(?![a-zA-Z])|\\not\s*="), r"\\ne "),
]
_SIUNITX = re.compile(r"\\(?:SI|qty)\s*(?:\[[^\[\]]*\])?\s*\{([^{}]*)\}\s*\{[^{}]*\}|\\num\s*\{([^{}]*)\}")
_LONGEST = 200  # characters below a root
_LETTERS = re.compile(r"[A-Za-z]")


def from_unicode(text: str) -> str:
    """Rewrite mathematical signs of Unicode as LaTeX, and all else as `to_ascii` does."""
    if text.isascii():
        return text
    if _ROOT.search(text):
        text = _roots(text)
    return to_ascii(text.translate(_TABLE))


def prepared(text: str) -> str:
    """Rewrite one answer, without its mark, as LaTeX that math-verify reads whole."""
    text = _BLANKS.sub(" ", text.strip())  # patterns below are not linear in white space
    text = text if text.endswith("..") else text.removesuffix(".").strip()
    text = _GROUPED.sub("", text)
    if not text.isascii():
        if items := circled(text):
            return items
        text = without_words(from_unicode(text))
    if "\\" in text:
        text = unstyled(text)
    text = _SIUNITX.sub(lambda match: match[1] or match[2] or "", text)
    text = _OPTION.sub("", _UPRIGHT.sub(r"\1", text))
    if (upright := UPRIGHT.fullmatch(text)) and _DIGIT.search(upright[1]):
        text = upright[1].strip()
    if "$" in text or "\\" in text or _LETTERS.search(text) or not text.isascii():
        text = _CURRENCY.sub("", text).strip()
    if _SPACED.fullmatch(text):
        text = text.replace(" ", "").replace(",", "")
    for pattern, replacement in _SAME:
        text = pattern.sub(replacement, text)
    text = _PERCENT.sub(r"\\%", text)
    text = _TEMPERATURE.sub(r"^\\circ", _DEGREES.sub(r"^\\circ", text))
    return without_unit(written_out(text))


def written_out(text: str) -> str:
    """Write out E notation, repeating decimals and mixed numbers."""
    text = _SCIENTIFIC.sub(_power_of_ten, text)
    if "." in text:
        text = _TWO_DOTS.sub(r"\\overline{\1\2\3}", text)
        text = _DECIMAL_DOTS.sub(_dotted, _REPEATING.sub(_repeating, text))
    return _MIXED.sub(r"\1\\frac{\2}{\3}", text) if "/" in text else text


def _roots(text: str) -> str:
    """Rewrite signs of roots, the last first: one may stand in another."""
    for match in reversed(list(_ROOT.finditer(text))):
        inside, end = match[2], match.end()
        if inside is None:
            closed = _closing(text, end)
            if closed is None:
                continue
            inside, end = text[end + 1 : closed], closed + 1
        text = rf"{text[: match.start()]}\sqrt{_INDEX[match[1]]}{{{inside}}}{text[end:]}"
    return text


def _closing(text: str, start: int) -> int | None:
    """Find the bracket that closes the one at `start`, not far behind it."""
    depth = 0
    for bracket in _BRACKET.finditer(text, start, start + _LONGEST):
        depth += 1 if bracket[0] in "({" else -1
        if not depth:
            return bracket.start()
    return None


def _power_of_ten(match: re.Match[str]) -> str:
    sign = "-" if match[2] == "-" else ""
    return rf"{match[1]} \times 10^{{{sign}{match[3]}}}"


def _repeating(match: re.Match[str]) -> str:
    return _fraction(match[1], match[2], match[3] or match[4])


def _dotted(match: re.Match[str]) -> str:
    """A decimal with dots behind it: repeating if three like digits end it or a block is all of it."""
    whole, decimals = match[1], match[2]
    if len(decimals) >= 3 and len(set(decimals[-3:])) == 1:
        return _fraction(whole, decimals[:-1], decimals[-1])
    block = _BLOCK.fullmatch(decimals)
    return _fraction(whole, "", block[1]) if block else f"{whole}.{decimals}"


def _fraction(whole: str, fixed: str, repeated: str) -> str:
    """Write 0.1(6) as a fraction: (16 - 1) / 90."""
    top = int(whole + fixed + repeated) - int(whole + fixed or "0")
    return rf"\frac{{{top}}}{{{'9' * len(repeated) + '0' * len(fixed)}}}"
