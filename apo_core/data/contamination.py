"""Whether a training prompt is an evaluation prompt in disguise.

Four rules, the strictest first. A training prompt is found where

1. it is the same text but for case, punctuation and white space;
2. a short evaluation prompt stands in it as whole sentences;
3. both share runs of 13 words that make up half of the shorter one, and their numbers agree: the standard
   13-gram overlap (T. Brown et al., arXiv 2005.14165, appendix C), made blind to templates: problems that
   differ in their numbers are different problems, and a run that many evaluation prompts have is a preamble;
4. both have the same numbers in the same order and nearly the same words: a name swapped everywhere counts as
   one change. With fewer than two numbers a changed word may be the whole difference, so none is forgiven.

What is looked up is an index of the evaluation prompts: training prompts stream past it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from typing import NamedTuple

from apo_core.data.normal_form import normal_form, numbers_of, words_of

RUN = 13  # words
_PREAMBLE = 4  # evaluation prompts that share a run: it says nothing about any of them
_MOST_CHANGES = 3
_WORDS_A_CHANGE = 10
_SENTENCE_END = re.compile(r"(?<=[.!?:])\s+|\n+")


class Match(NamedTuple):
    """An evaluation prompt that a training prompt gives away."""

    evaluation: int  # its position among the evaluation prompts
    why: str


class EvaluationIndex:
    """The evaluation prompts, by everything a training prompt is looked up by."""

    def __init__(self, prompts: Sequence[str]) -> None:
        self._words = [words_of(prompt) for prompt in prompts]
        self._forms: dict[str, list[int]] = {}
        self._numbers: dict[tuple[str, ...], dict[int, list[int]]] = {}  # then by the number of words
        for position, words in enumerate(self._words):
            self._forms.setdefault(normal_form(words), []).append(position)
            self._numbers.setdefault(numbers_of(words), {}).setdefault(len(words), []).append(position)
        self._runs = _index_of_runs(self._words)
        self._short = {len(words) for words in self._words if 0 < len(words) < RUN}

    def matches(self, prompt: str) -> list[Match]:
        """Every evaluation prompt that this training prompt gives away, each once, by its first rule."""
        words = words_of(prompt)
        found: dict[int, str] = {}
        for rule in (self._by_text, self._by_sentences, self._by_runs, self._by_changes):
            for position, why in rule(prompt, words):
                found.setdefault(position, why)
        return [Match(position, why) for position, why in sorted(found.items())]

    def _by_text(self, _prompt: str, words: list[str]) -> Iterator[tuple[int, str]]:
        if words and numbers_of(words) in self._numbers:  # what few are is asked first
            for position in self._forms.get(normal_form(words), ()):
                yield position, "the same text but for case, punctuation and white space"

    def _by_sentences(self, prompt: str, words: list[str]) -> Iterator[tuple[int, str]]:
        if not self._short:
            return
        sentences = [found for part in _SENTENCE_END.split(prompt) if (found := words_of(part))]
        for start in range(len(sentences)):
            stretch: list[str] = []
            for sentence in sentences[start:]:
                stretch = stretch + sentence
                if len(stretch) >= RUN:
                    break
                if len(stretch) in self._short:
                    for position in self._forms.get(normal_form(stretch), ()):
                        yield position, "it stands in the training prompt"

    def _by_runs(self, _prompt: str, words: list[str]) -> Iterator[tuple[int, str]]:
        runs = _runs(words)
        for position in {position for run in runs if run in self._runs for position in self._runs[run]}:
            theirs = self._words[position]
            telling = [at for at, run in enumerate(_runs(theirs)) if position in self._runs.get(run, ())]
            mine = set(runs)
            shared = [at for at in telling if _run(theirs, at) in mine]
            shorter = min(len(words), _covered(telling))
            if 2 * _covered(shared) >= shorter and _agree(numbers_of(words), numbers_of(theirs)):
                text = " ".join(theirs[shared[0] : shared[0] + RUN])
                yield position, f"{RUN} words in a row and the same numbers: {text}"

    def _by_changes(self, _prompt: str, words: list[str]) -> Iterator[tuple[int, str]]:
        numbers = numbers_of(words)
        for length, positions in self._numbers.get(numbers, {}).items():
            most = min(length // _WORDS_A_CHANGE, _MOST_CHANGES)
            if len(numbers) < 2 or most == 0 or abs(length - len(words)) > 2:
                continue
            for position in positions:
                changes = changed_words(self._words[position], words)
                if 0 < len(changes) <= most:
                    text = ", ".join(f"{old or 'nothing'} for {new or 'nothing'}" for old, new in changes)
                    yield position, f"the same numbers and words, but {text}"


def changed_words(first: list[str], second: list[str]) -> list[tuple[str, str]]:
    """The different replacements that make the second of the first; one made everywhere counts once."""
    common = sum((Counter(first) & Counter(second)).values())
    if 2 * common < len(first):  # no need to align what has little in common
        return list(zip(first, second, strict=False))
    matcher = SequenceMatcher(None, first, second, autojunk=False)
    replaced = {
        _without_genitive(" ".join(first[a:b]), " ".join(second[c:d])): None
        for operation, a, b, c, d in matcher.get_opcodes()
        if operation != "equal"
    }
    return list(replaced)


def _without_genitive(old: str, new: str) -> tuple[str, str]:
    """`anns` for `marys` is the same change as `ann` for `mary`."""
    return (old[:-1], new[:-1]) if old.endswith("s") and new.endswith("s") else (old, new)


def _index_of_runs(texts: list[list[str]]) -> dict[int, tuple[int, ...]]:
    """Positions of the prompts that have a run, by its hash; without runs that many prompts have."""
    found: dict[int, dict[int, None]] = {}
    for position, words in enumerate(texts):
        for run in _runs(words):
            found.setdefault(run, {})[position] = None
    return {
        run: tuple(positions)
        for run, positions in found.items()
        if len(positions) < _PREAMBLE or len({normal_form(texts[at]) for at in positions}) < _PREAMBLE
    }


def _runs(words: list[str]) -> list[int]:
    return [_run(words, start) for start in range(len(words) - RUN + 1)]


def _run(words: list[str], start: int) -> int:
    return hash(tuple(words[start : start + RUN]))


def _covered(starts: list[int]) -> int:
    """How many words lie in runs that start there; the starts in ascending order."""
    total, end = 0, 0
    for start in starts:
        total += start + RUN - max(start, end)
        end = start + RUN
    return total


def _agree(first: tuple[str, ...], second: tuple[str, ...]) -> bool:
    """Whether the fewer numbers are the others' but for an added sentence's, or one that became a word."""
    short, long = sorted((first, second), key=len)
    if not short:
        return not long
    added = any(long[at : at + len(short)] == short for at in range(len(long) - len(short) + 1))
    return added or any(long[:at] + long[at + 1 :] == short for at in range(len(long)))
