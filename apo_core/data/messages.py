"""Prompts that are conversations: lists of {role, content}, kept as JSON unless they are one user turn."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

_ROLES = ("system", "user", "assistant")


class Turn(NamedTuple):
    """What one side says."""

    role: str
    content: str


def is_conversation(value: object) -> bool:
    """Whether a field holds the turns of a conversation; an empty list is no conversation."""
    return isinstance(value, Sequence) and bool(value) and all(isinstance(turn, Mapping) for turn in value)


def prompt_of_turns(turns: Sequence[Mapping[str, Any]]) -> str:
    """The prompt that a conversation is: the user's text, or JSON where other turns come before it.

    Raises:
        ValueError: a turn is not of the form {role, content}, is no text, or the last is not the user's.
    """
    conversation = [_turn(number, turn) for number, turn in enumerate(turns, start=1)]
    for number, turn in enumerate(conversation, start=1):
        if turn.role == "system" and number > 1:
            raise ValueError(f"turn {number} is the system's; only the first may be")
    if conversation[-1].role != "user":
        raise ValueError(f"ends with a turn of {conversation[-1].role}; a prompt ends with the user's")
    if not conversation[-1].content.strip():
        raise ValueError("the user's last turn is empty")
    if len(conversation) == 1:
        return conversation[0].content
    return json.dumps([turn._asdict() for turn in conversation], ensure_ascii=False)


def turns_of(prompt: str) -> list[Turn]:
    """The turns of a prompt as the table keeps it: those of `prompt_of_turns`, or one of the user's."""
    if prompt.startswith('[{"role": '):
        try:
            turns = json.loads(prompt)
            if is_conversation(turns) and prompt == prompt_of_turns(turns):
                return [Turn(**turn) for turn in turns]
        except ValueError:
            pass  # a text that begins like JSON
    return [Turn("user", prompt)]


def text_of_turns(prompt: str, *, system: bool = True) -> str:
    """What is said in a prompt, without the signs that it is kept with; with the system's turn or without."""
    turns = turns_of(prompt)
    return "\n".join(turn.content for turn in turns if system or turn.role != "system")


def _turn(number: int, turn: Mapping[str, Any]) -> Turn:
    role, content = turn.get("role"), turn.get("content")
    if role not in _ROLES:
        raise ValueError(f"turn {number} has role {json.dumps(role)}; expected {', '.join(_ROLES)}")
    if isinstance(content, list) and content and all(_is_text(part) for part in content):
        content = "".join(part["text"] for part in content)  # as APIs write the text between pictures
    if not isinstance(content, str):
        raise ValueError(
            f"turn {number} has no text as its content, found {json.dumps(content, default=str)[:40]}"
        )
    return Turn(role, content)


def _is_text(part: object) -> bool:
    return isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str)
