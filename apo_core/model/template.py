"""Prompt templates: from the text of a prompt to the token ids that the policy reads, and back."""

from __future__ import annotations

from transformers import AutoTokenizer, PreTrainedTokenizerBase

from apo_core.errors import InputError
from apo_core.model.directory import ModelRef, check_model_directory


class Template:
    """A template over a tokenizer; the same one serves every stage."""

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, *, style: str, text: str, system: str | None
    ) -> None:
        self.tokenizer = tokenizer
        self.style = style
        self.text = text
        self.system = system

    def encode(self, prompt: str) -> list[int]:
        """Token ids of a prompt, ready to be continued by a response."""
        # replace, not format: prompts and templates contain braces of their own (LaTeX).
        text = self.text.replace("{prompt}", prompt)
        if self.style == "raw":
            return list(self.tokenizer.encode(text))
        messages = [{"role": "user", "content": text}]
        if self.system is not None:
            messages.insert(0, {"role": "system", "content": self.system})
        return list(
            self.tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
        )

    def decode(self, token_ids: list[int]) -> str:
        """A response's text without special tokens."""
        return str(self.tokenizer.decode(token_ids, skip_special_tokens=True))


def load_template(source: ModelRef, *, style: str, text: str, system: str | None) -> Template:
    """Make a template over a model directory's tokenizer; policy and reference share it.

    Raises:
        InputError: there is no usable tokenizer, or it has no chat template and the style needs one.
    """
    tokenizer = load_tokenizer(source)
    if style == "chat" and not tokenizer.chat_template:
        raise InputError(source.path, "the tokenizer has no chat template (template.style: chat)")
    return Template(tokenizer, style=style, text=text, system=system)


def load_tokenizer(source: ModelRef) -> PreTrainedTokenizerBase:
    """Load a tokenizer that can pad and end a sequence.

    Raises:
        InputError: there is none, or it has no end-of-sequence token.
    """
    check_model_directory(source.path)
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            source.path, local_files_only=True, trust_remote_code=source.trust_remote_code
        )
    except (OSError, ValueError, KeyError) as error:
        raise InputError(source.path, f"has no usable tokenizer: {first_line(error)}") from error
    if tokenizer.eos_token_id is None:
        raise InputError(source.path, "the tokenizer has no end-of-sequence token")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def stop_ids(tokenizer: PreTrainedTokenizerBase, character: str | None) -> set[int]:
    """Every token whose text contains the character; none where it is None."""
    if character is None:
        return set()
    texts = tokenizer.batch_decode([[token] for token in range(len(tokenizer))])
    return {token for token, text in enumerate(texts) if character in text}


def first_line(error: BaseException) -> str:
    """The part of a library's error that fits into one line."""
    return str(error).strip().split("\n", 1)[0]
