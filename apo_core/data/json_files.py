"""Rows of files of JSON: an object per line, or one array of objects, whatever the file is called."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from apo_core.data.text_files import format_of, open_text
from apo_core.errors import InputError

Row = tuple[int, dict[str, Any]]
_CHUNK = 2**20  # characters
_DECODER = json.JSONDecoder()
_SPACE = re.compile(r"\s+")


def rows_of_json(file: Path) -> Iterator[Row]:
    """Yield the objects of a file, in either form: its first character says which.

    Raises:
        InputError: see `lines_of_objects` and `array_of_objects`.
    """
    named_json = format_of(file) == ".json"
    with open_text(file) as stream:
        while (start := stream.read(1)).isspace():
            pass
        first = start + stream.readline() if start == "{" and named_json else start
    if start == "[" or (not start and named_json):
        yield from array_of_objects(file)
    elif named_json and not _is_json(first):  # an object over several lines
        raise InputError(file, "must be an array of objects, or have an object in every line")
    else:
        yield from lines_of_objects(file)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def lines_of_objects(file: Path) -> Iterator[Row]:
    """Yield objects with their lines, counted from 1; empty lines are skipped.

    Raises:
        InputError: the file cannot be read, or a line is not an object; names the line.
    """
    line = 0
    with open_text(file) as stream:
        for line, text in enumerate(stream, start=1):
            if not text.strip():
                continue
            try:
                row = json.loads(text.rstrip("\r\n"))
            except json.JSONDecodeError as error:
                problem = f"malformed JSON: {error.msg} (column {error.colno})"
                raise InputError(file, problem, row=line) from None
            except (ValueError, RecursionError) as error:
                raise InputError(file, f"cannot be read: {error}", row=line) from None
            yield line, _object(file, row, line)


def array_of_objects(file: Path) -> Iterator[Row]:
    """Yield the objects of an array with their positions, counted from 1; the file is read in chunks.

    Raises:
        InputError: the file cannot be read, or is not an array of objects; names position and line.
    """
    with open_text(file) as stream:
        window = _Window(file, stream)
        if window.next_character() != "[":
            raise InputError(file, "must be an array of objects")
        window.drop(1)
        position = 0
        while (character := window.next_character()) != "]":
            if position:
                if character != ",":
                    raise window.malformed("Expecting ',' delimiter", 0, position)
                window.drop(1)
                window.next_character()
            position += 1
            yield position, _object(file, window.value(position), position)
        window.drop(1)
        if window.next_character():
            raise window.malformed("Extra data", 0, position)


class _Window:
    """The part of a text that has been read and not yet parsed."""

    def __init__(self, file: Path, stream: IO[str]) -> None:
        self._file, self._stream = file, stream
        self._text, self._at = "", 0  # an offset instead of cutting the text, which would copy the rest
        self._lines = 1

    def next_character(self) -> str:
        """Skip white space and return the next character, which stays; empty at the end of the file."""
        while True:
            space = _SPACE.match(self._text, self._at)
            self.drop(space.end() - self._at if space else 0)
            if self._at < len(self._text) or not self._more():
                return self._text[self._at : self._at + 1]

    def drop(self, count: int) -> None:
        """Skip `count` characters."""
        self._lines += self._text.count("\n", self._at, self._at + count)
        self._at += count

    def value(self, position: int) -> Any:
        """Parse the value that begins here, reading twice as much text until the value is complete."""
        while True:
            try:
                decoded, end = _DECODER.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                if self._more():
                    continue
                raise self.malformed(error.msg, error.pos - self._at, position) from None
            except (ValueError, RecursionError) as error:
                raise InputError(self._file, f"cannot be read: {error}", row=position) from None
            self.drop(end - self._at)
            return decoded

    def malformed(self, problem: str, at: int, position: int) -> InputError:
        """Make the error for malformed JSON, with the object's position and the line in the file."""
        line = self._lines + self._text.count("\n", self._at, self._at + at)
        return InputError(self._file, f"malformed JSON: {problem} (line {line})", row=position)

    def _more(self) -> bool:
        chunk = self._stream.read(max(_CHUNK, len(self._text) - self._at))
        self._text, self._at = self._text[self._at :] + chunk, 0
        return bool(chunk)


def _object(file: Path, row: Any, number: int) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise InputError(file, f"must be a JSON object, found {json.dumps(row)[:40]}", row=number)
    return row
