"""Refusals of prompts whose tokens no policy can read, and of tokenizers that do not fit their model."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from transformers import PreTrainedTokenizerBase

from apo_core.errors import ApoError
from apo_core.model.template import Template


def token_check(
    tokenizer: PreTrainedTokenizerBase, *, style: str, end_ids: set[int], embeddings: int
) -> Callable[[list[int]], str | None]:
    """A function that says what is wrong with a prompt's tokens; None where nothing is.

    Args:
        tokenizer: of the model.
        style: `template.style`.
        end_ids: tokens that end a response.
        embeddings: tokens that the model knows.
    """

    def problem(token_ids: list[int]) -> str | None:
        if not token_ids:
            return "has no token"
        highest = max(token_ids)
        if highest >= embeddings:
            text = tokenizer.convert_ids_to_tokens(highest)
            return f"needs token {highest} ({text!r}), the model has embeddings for {embeddings}"
        start = tokenizer.bos_token_id
        if start is not None and token_ids[:2] == [start, start]:
            return f"begins with {tokenizer.bos_token!r} twice: the tokenizer adds it, template.text need not"
        # A model's own chat template may end a turn so; text that is fed as it is may not.
        if style == "raw" and len(token_ids) > 1 and token_ids[-1] in end_ids:
            text = tokenizer.convert_ids_to_tokens(token_ids[-1])
            return f"ends with {text!r}, behind which a response would begin after its own end"
        return None

    return problem


def read_prompts(
    template: Template, prompts: Iterable[str], token_problem: Callable[[list[int]], str | None]
) -> tuple[list[int], list[str | None]]:
    """Tokens of each prompt, and what is wrong with it; see `token_check`."""
    tokens: list[int] = []
    problems: list[str | None] = []
    for prompt in prompts:
        try:
            token_ids = template.encode(prompt)
            problem = token_problem(token_ids)
        except ApoError as error:
            token_ids, problem = [], str(error)
        tokens.append(len(token_ids))
        problems.append(problem)
    return tokens, problems


def check_special_tokens(tokenizer: PreTrainedTokenizerBase, *, embeddings: int) -> None:
    """Refuse a tokenizer that ends, begins or pads sequences with tokens that the model does not know.

    Raises:
        ApoError: names the token.
    """
    for name in ("bos_token", "eos_token", "pad_token"):
        token = getattr(tokenizer, f"{name}_id")
        if token is not None and token >= embeddings:
            raise ApoError(
                f"the tokenizer's {name} {getattr(tokenizer, name)!r} is token {token}, the model has "
                f"embeddings for {embeddings}"
            )
