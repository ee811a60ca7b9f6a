"""The field's words: what the project was once written in is not written again."""

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from builders import ROOT

# Names that said less than the noun or the verb of the field.
NAMES = {
    "Asking",
    "Drawn",
    "Lesson",
    "Micro",
    "Parts",
    "Shelf",
    "Site",
    "Stage2",
    "Sums",
    "alone",
    "ask",
    "be_quiet",
    "behaviour",
    "born",
    "complete",
    "draw",
    "encoder",
    "exact",
    "follow",
    "following",
    "forget_rank",
    "found",
    "given",
    "in_turn",
    "judge",
    "lay_out",
    "leftovers",
    "one",
    "one_line",
    "packs",
    "place",
    "settings",
    "speak_plainly",
    "spending",
    "spread",
    "suits",
    "tell",
    "telling",
    "there",
    "told",
    "understood",
    "wanted",
}
HYPOTHESIS = {"given", "settings", "draw"}  # the library's own
WORDS_IN_NAMES = {"asking", "behaviour", "encoder", "judge", "shelf", "tell", "telling", "told", "wanted"}
RATE = (
    "prompt|response|step|rank|token|row|sample|batch|worker|run|request|shard|GPU|device|machine|process|set"
)
COUNTED = (
    "responses?|samples?|seconds|s|tokens|rewards?|prompts|time|requests|lines?|objects?|actors?|updates"
    "|numbers?|rows|MiB|ms|once|one|file|steps|values?|shards?|engines?"
)
PHRASES = re.compile(
    rf"\b(?:{COUNTED}) an? (?:{RATE})\b|\bheld against\b|\bis no rule of\b|\bis there twice\b|\bmanieth\b"
    r"|\bbut for\b|\b(?:is|are) told\b|\btells? of\b|\btelling\b"
)
TRACKED = subprocess.run(
    ["git", "ls-files", "*.py", "*.md", "*.yaml", "Makefile"],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=True,
)
FILES = [
    ROOT / name
    for name in TRACKED.stdout.splitlines()
    if name not in ("CHANGELOG.md", "tests/unit/test_words.py") and (ROOT / name).exists()
]


def names_in(source: str) -> Iterator[tuple[int, str]]:
    """Line and name of every definition, variable, argument and attribute."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.lineno, node.name
        elif isinstance(node, ast.Name):
            yield node.lineno, node.id
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.Attribute):
            yield node.lineno, node.attr
        elif isinstance(node, ast.keyword) and node.arg:
            yield node.value.lineno, node.arg


def old_words(text: str, *, code: bool) -> list[str]:
    """What of it is not in the field's words, each with its line."""
    named = [
        f"{line}: {name}"
        for line, name in (names_in(text) if code else ())
        if name not in (HYPOTHESIS if "hypothesis" in text else ())
        if name in NAMES or set(name.lower().strip("_").split("_")) & WORDS_IN_NAMES
    ]
    said = [
        f"{number}: {phrase}"
        for number, line in enumerate(text.splitlines(), 1)
        for phrase in PHRASES.findall(line)
    ]
    return sorted(set(named + said))


def test_there_is_something_to_read():
    assert len(FILES) > 300


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("found = [one for one in rows]", ["1: found", "1: one"]),
        ("def needs_behaviour(rows): ...", ["1: needs_behaviour"]),
        ('"""Two responses a prompt."""', ["1: responses a prompt"]),
        ("old_log_probs = workspace.rows  # two per prompt", []),
    ],
)
def test_old_words_are_seen(text, words):
    assert old_words(text, code=True) == words


@pytest.mark.parametrize("folder", sorted({file.relative_to(ROOT).parts[0] for file in FILES}))
def test_what_is_written_is_in_the_words_of_the_field(folder):
    files: list[Path] = [file for file in FILES if file.relative_to(ROOT).parts[0] == folder]
    assert [
        f"{file.relative_to(ROOT)}:{word}"
        for file in files
        for word in old_words(file.read_text(encoding="utf-8"), code=file.suffix == ".py")
    ] == []
