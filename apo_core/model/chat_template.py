"""Chat templates: programs of a model's authors, which may refuse, fail, or write today's date."""

from __future__ import annotations

from datetime import date, datetime, time
from typing import Any

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase

from apo_core.errors import ApoError

Messages = list[dict[str, str]]
_DATE = "chat_template_date"  # in tokenizer_config.json
# What a template raises, and what its expressions do (None + text, a key that is not there).
_FAILURES = (
    TemplateError,
    TypeError,
    ValueError,
    AttributeError,
    LookupError,
    ArithmeticError,
    RecursionError,
)


class TemplateRefuses(ApoError):
    """A chat template cannot write these messages."""


def write_chat(tokenizer: PreTrainedTokenizerBase, messages: Messages) -> str:
    """The text of a conversation in the tokenizer's chat template, open for the assistant's turn.

    Raises:
        TemplateRefuses: the template raises; the message is its own.
    """
    return str(_apply(tokenizer, messages, tokenize=False))


def encode_chat(tokenizer: PreTrainedTokenizerBase, messages: Messages) -> list[int]:
    """The token ids of `write_chat`."""
    return list(_apply(tokenizer, messages, tokenize=True, return_dict=False))


def _apply(tokenizer: PreTrainedTokenizerBase, messages: Messages, **options: Any) -> Any:
    day = datetime.combine(
        date.fromisoformat(kept) if (kept := kept_date(tokenizer)) else date.today(), time()
    )
    try:
        return tokenizer.apply_chat_template(
            messages,
            add_generation_prompt=True,
            strftime_now=day.strftime,  # in the place of transformers' own, which asks the clock
            **options,
        )
    except _FAILURES as error:
        raise TemplateRefuses(f"the chat template fails: {_one_line(error)}") from None


def check_chat_template(tokenizer: PreTrainedTokenizerBase, text: str, system: str | None) -> None:
    """Refuse a chat template that cannot write the turns that it will be given, or leaves one out.

    Args:
        tokenizer: has the template.
        text: of the user's turn, `template.text`.
        system: of the system's turn, or None.

    Raises:
        ApoError: names the turn, and what the template said.
    """
    if isinstance(tokenizer.chat_template, dict) and "default" not in tokenizer.chat_template:
        names = ", ".join(sorted(tokenizer.chat_template))
        raise ApoError(f"the tokenizer has several chat templates ({names}), and none is called default")
    first, second = (
        write_chat(tokenizer, [{"role": "user", "content": text.replace("{prompt}", prompt)}])
        for prompt in ("1+1=", "2+3=")
    )
    if first == second:
        raise ApoError("the chat template leaves the user's turn out: two prompts give the same text")
    if system is None:
        return
    turns = [
        {"role": "system", "content": system},
        {"role": "user", "content": text.replace("{prompt}", "1+1=")},
    ]
    try:
        with_system = write_chat(tokenizer, turns)
    except TemplateRefuses as error:
        problem = str(error).removeprefix("the chat template fails: ")
        raise ApoError(f"the chat template refuses template.system: {problem}") from None
    if with_system == first:
        raise ApoError("the chat template leaves template.system out; write it into template.text")


def keep_date(tokenizer: PreTrainedTokenizerBase, day: date) -> None:
    """Let a chat template that writes today's date write this day's from now on.

    The tokenizer is saved with it: V*, training, evaluation and every later use read the same tokens.
    """
    templates = tokenizer.chat_template or ""
    texts = templates.values() if isinstance(templates, dict) else [templates]
    if kept_date(tokenizer) is None and any("strftime_now" in text for text in texts):
        tokenizer.init_kwargs[_DATE] = day.isoformat()


def kept_date(tokenizer: PreTrainedTokenizerBase) -> str | None:
    """The day that a chat template writes, as `keep_date` was told; None: today."""
    kept = tokenizer.init_kwargs.get(_DATE)
    return kept if isinstance(kept, str) else None


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text or type(error).__name__
