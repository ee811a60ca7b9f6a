"""Contamination: training prompts that are evaluation prompts in disguise.

Four rules, the strictest first. A training prompt matches an evaluation prompt if

1. both are the same text except for case, punctuation and white space;
2. a short evaluation prompt stands in the training prompt as whole sentences;
3. both share runs of 13 words that make up half of the shorter one, and their numbers agree: the standard
   13-gram overlap (T. Brown et al., arXiv 2005.14165, appendix C), with the condition on numbers because
   problems from one template that differ in their numbers are different problems;
4. both have the same numbers in the same order and nearly the same words: one change is allowed per ten
   words, and a name swapped everywhere is one change. With fewer than two numbers a changed word may be the
   whole difference, so none is allowed.

Runs that several evaluation prompts have in common (a preamble, instructions) are ignored in 3 and 4.

Only the evaluation prompts are indexed in memory; training prompts are streamed.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from typing import NamedTuple

from apo_core.data.normal_form import normal_form, numbers_of, words_of

RUN = 13  # words
_DIFFERENT = 7  # different words that a run must have; with fewer it is a row of signs
_COMMON = 4  # evaluation prompts that share a run from which on the run is ignored
_MOST_CHANGES = 3
_WORDS_A_CHANGE = 10
_WORDS_CHANGED = 3  # most consecutive words in one change
_SENTENCE_END = re.compile(r"(?<=[.!?:])\s+|\n+")


class Match(NamedTuple):
    """An evaluation prompt that a training prompt contains or repeats."""

    evaluation: int  # its position among the evaluation prompts
    why: str


class EvaluationIndex:
    """Index of the evaluation prompts for the four rules."""

    def __init__(self, prompts: Sequence[str]) -> None:
        self._words = [words_of(prompt) for prompt in prompts]
        self._forms: dict[str, list[int]] = {}
        self._numbers: dict[tuple[str, ...], dict[int, list[int]]] = {}  # then by number of words
        for position, words in enumerate(self._words):
            self._forms.setdefault(normal_form(words), []).append(position)
            self._numbers.setdefault(numbers_of(words), {}).setdefault(len(words), []).append(position)
        self._runs, self._common = _index_of_runs(self._words)
        self._short = {len(words) for words in self._words if 0 < len(words) < RUN}

    def matches(self, prompt: str) -> list[Match]:
        """Find every evaluation prompt that a training prompt matches, with the first rule that holds."""
        words = words_of(prompt)
        reasons: dict[int, str] = {}
        for rule in (self._by_text, self._by_sentences, self._by_runs, self._by_changes):
            for position, why in rule(prompt, words):
                reasons.setdefault(position, why)
        return [Match(position, why) for position, why in sorted(reasons.items())]

    def _by_text(self, _prompt: str, words: list[str]) -> Iterator[tuple[int, str]]:
        if words and numbers_of(words) in self._numbers:  # a cheap test that few prompts pass
            for position in self._forms.get(normal_form(words), ()):
                yield position, "the same text except for case, punctuation and white space"

    def _by_sentences(self, prompt: str, words: list[str]) -> Iterator[tuple[int, str]]:
        if not self._short:
            return
        sentences = [
            sentence_words for part in _SENTENCE_END.split(prompt) if (sentence_words := words_of(part))
        ]
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
        mine = {run for run in _runs(words) if run in self._runs}
        for position in {position for run in mine for position in self._runs[run]}:
            theirs = self._words[position]
            shared = [at for at, run in enumerate(_runs(theirs)) if run in mine]
            distinctive = self._distinctive_words(position)
            half = min(len(words), len(distinctive)) / 2
            if len(distinctive & _covered(shared)) >= half and _agree(numbers_of(words), numbers_of(theirs)):
                text = " ".join(theirs[shared[0] : shared[0] + RUN])
                yield position, f"{RUN} words in a row and the same numbers: {text}"

    def _by_changes(self, _prompt: str, words: list[str]) -> Iterator[tuple[int, str]]:
        numbers = numbers_of(words)
        for length, positions in self._numbers.get(numbers, {}).items():
            if len(numbers) < 2 or length < _WORDS_A_CHANGE or abs(length - len(words)) > _MOST_CHANGES:
                continue
            for position in positions:
                most = min(len(self._distinctive_words(position)) // _WORDS_A_CHANGE, _MOST_CHANGES)
                changes = changed_words(self._words[position], words) if most else []
                if 0 < len(changes) <= most:
                    text = ", ".join(f"{old or 'nothing'} for {new or 'nothing'}" for old, new in changes)
                    yield position, f"the same numbers and words, but {text}"

    def _distinctive_words(self, position: int) -> set[int]:
        """Positions of the words of an evaluation prompt that lie in no common run."""
        words = self._words[position]
        common = [at for at, run in enumerate(_runs(words)) if run in self._common]
        return set(range(len(words))) - _covered(common)


def changed_words(first: list[str], second: list[str]) -> list[tuple[str, str]]:
    """List the different replacements that turn the first text into the second, each once.

    The list is also empty if the texts differ too much: in half of the words, or in more than three in a row.
    """
    common = sum((Counter(first) & Counter(second)).values())
    if 2 * common < len(first):  # too different: skip the slow alignment
        return []
    matcher = SequenceMatcher(None, first, second, autojunk=False)
    replaced: dict[tuple[str, str], None] = {}
    for operation, a, b, c, d in matcher.get_opcodes():
        if operation != "equal":
            if max(b - a, d - c) > _WORDS_CHANGED:
                return []
            replaced[_without_genitive(" ".join(first[a:b]), " ".join(second[c:d]))] = None
    return list(replaced)


def _without_genitive(old: str, new: str) -> tuple[str, str]:
    """Drop a genitive s on both sides: `anns` for `marys` is the same change as `ann` for `mary`."""
    return (old[:-1], new[:-1]) if old.endswith("s") and new.endswith("s") else (old, new)


def _index_of_runs(texts: list[list[str]]) -> tuple[dict[int, tuple[int, ...]], set[int]]:
    """Map the hash of a run to the prompts that have it; also return the runs common to many prompts."""
    prompts_by_run: dict[int, dict[int, None]] = {}
    for position, words in enumerate(texts):
        for start, run in enumerate(_runs(words)):
            if len({*words[start : start + RUN]}) >= _DIFFERENT:
                prompts_by_run.setdefault(run, {})[position] = None
    common = {
        run
        for run, positions in prompts_by_run.items()
        if len(positions) >= _COMMON and len({normal_form(texts[at]) for at in positions}) >= _COMMON
    }
    return {run: tuple(positions) for run, positions in prompts_by_run.items() if run not in common}, common


def _runs(words: list[str]) -> list[int]:
    return [hash(tuple(words[start : start + RUN])) for start in range(len(words) - RUN + 1)]


def _covered(starts: list[int]) -> set[int]:
    """List the positions of all words in the runs that begin at `starts`."""
    return {at for start in starts for at in range(start, start + RUN)}


def _agree(first: tuple[str, ...], second: tuple[str, ...]) -> bool:
    """Whether two prompts agree in their numbers, except an added sentence's or one that became a word."""
    short, long = sorted((first, second), key=len)
    if not short:
        return not long
    added = any(long[at : at + len(short)] == short for at in range(len(long) - len(short) + 1))
    return added or any(long[:at] + long[at + 1 :] == short for at in range(len(long)))
