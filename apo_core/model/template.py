"""Prompt templates: from the text of a prompt to the token ids that the policy reads, and back."""

from __future__ import annotations

from transformers import AutoTokenizer, PreTrainedTokenizerBase

from apo_core.data.messages import turns_of
from apo_core.errors import ApoError, InputError
from apo_core.model.chat_template import Messages, check_chat_template, encode_chat
from apo_core.model.directory import ModelRef, check_model_directory
from apo_core.model.end_tokens import end_tokens_of, marks_of, special_tokens_of


class Template:
    """A template over a tokenizer; the same one serves every stage."""

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        *,
        style: str,
        text: str,
        system: str | None,
        end_ids: frozenset[int] = frozenset(),
    ) -> None:
        """Take a tokenizer, and the tokens that end a response beside the tokenizer's own."""
        self.tokenizer = tokenizer
        # A policy's directory names tokens of text as ends, too: those with `generation.stop_character`.
        self._dropped = (end_ids & special_tokens_of(tokenizer)) | marks_of(tokenizer)
        self.style = style
        self.text = text
        self.system = system

    def encode(self, prompt: str) -> list[int]:
        """Token ids of a prompt, ready to be continued by a response.

        A prompt may be a conversation (`apo_core.data.messages`): `text` is put around its last turn.

        Raises:
            ApoError: the template cannot write the prompt.
        """
        turns = turns_of(prompt)
        # replace, not format: prompts and templates contain braces of their own (LaTeX).
        text = self.text.replace("{prompt}", turns[-1].content)
        if self.style == "raw":
            if len(turns) > 1:
                roles = ", ".join(turn.role for turn in turns)
                raise ApoError(f"has turns of {roles}; template.style raw reads one text, chat writes turns")
            return list(self.tokenizer.encode(text))
        messages: Messages = [turn._asdict() for turn in turns[:-1]]
        if self.system is not None:
            if turns[0].role == "system":
                raise ApoError("has a system turn of its own, and template.system is another")
            messages.insert(0, {"role": "system", "content": self.system})
        return encode_chat(self.tokenizer, [*messages, {"role": "user", "content": text}])

    def ends_with(self, text: str) -> bool:
        """Whether every prompt ends with a text, as a chat template's that opens the thinking part does."""
        return str(self.tokenizer.decode(self.encode("x"))).rstrip().endswith(text)

    def decode(self, token_ids: list[int]) -> str:
        """A response's text without the tokens that end it, padding and the like.

        Special tokens that a model's authors added stay: `<answer>` or `</think>` may be among them.
        """
        kept = [token for token in token_ids if token not in self._dropped]
        return str(self.tokenizer.decode(kept, skip_special_tokens=False))


def load_template(source: ModelRef, *, style: str, text: str, system: str | None) -> Template:
    """Make a template over a model directory's tokenizer; policy and reference share it.

    Raises:
        InputError: there is no usable tokenizer, or the style is chat and it has no chat template that writes
            the turns.
    """
    try:
        return make_template(
            load_tokenizer(source), style=style, text=text, system=system, end_ids=end_tokens_of(source.path)
        )
    except InputError:
        raise
    except ApoError as error:
        raise InputError(source.path, str(error)) from None


def make_template(
    tokenizer: PreTrainedTokenizerBase,
    *,
    style: str,
    text: str,
    system: str | None,
    end_ids: frozenset[int] = frozenset(),
) -> Template:
    """Make a template over a tokenizer.

    Args:
        tokenizer: of the model.
        style: `template.style`.
        text: `template.text`.
        system: `template.system`.
        end_ids: tokens that end a response, as `end_tokens_of` finds them.

    Raises:
        ApoError: the style is chat, and the tokenizer has no chat template that writes the turns.
    """
    if style == "chat":
        if not tokenizer.chat_template:
            raise ApoError("the tokenizer has no chat template (template.style: chat)")
        check_chat_template(tokenizer, text, system)
    return Template(tokenizer, style=style, text=text, system=system, end_ids=end_ids)


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
    """Every token whose text contains the character; none where it is None.

    Special tokens are no text of a response: `>` does not stop at `<|im_start|>`.

    Raises:
        ApoError: no token's text contains it.
    """
    if character is None:
        return set()
    texts = tokenizer.batch_decode([[token] for token in range(len(tokenizer))], skip_special_tokens=True)
    tokens = {token for token, text in enumerate(texts) if character in text}
    if not tokens:
        raise ApoError(
            f"generation.stop_character: the tokenizer has no token whose text contains {character!r}, so it "
            "would stop nothing"
        )
    return tokens


def first_line(error: BaseException) -> str:
    """The part of a library's error that fits into one line."""
    return str(error).strip().split("\n", 1)[0]
