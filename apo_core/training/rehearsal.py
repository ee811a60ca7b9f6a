"""Do once, on a few tokens, what a run does with a model all along: sample, take log-probs, learn."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from apo_core.errors import ApoError
from apo_core.model.architecture_checks import max_positions
from apo_core.model.log_probs import ResponseLogProbs
from apo_core.model.micro_batch import pad_responses
from apo_core.model.template import first_line
from apo_core.sampling.transformers_sampler import TransformersSampler

_TEXTS = ("1+1=", "What is 12 plus 30?", "1+1=", "7-5=2, so 7-5+3 is")
_NEW_TOKENS = 4
# What code of an architecture that does not suit raises; without memory another machine may do.
_FAILURES = (RuntimeError, AttributeError, LookupError, TypeError, ValueError, ImportError, AssertionError)


def rehearse(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Sample a few tokens after each of four prompts, take their log-probs, and back-propagate once.

    Prompts have different lengths, and one comes twice: the cache is padded and its rows are selected. Tokens
    and log-probs are compared with those of the model read plainly, row by row without a cache.

    Args:
        model: in evaluation mode.
        tokenizer: of the model.

    Raises:
        ApoError: the model cannot do so, or does something else.
    """
    prompts = _prompts(model, tokenizer)
    with _said_in_one_line("sampled from"):
        responses = _sample(model, prompts, tokenizer.pad_token_id, set())
        # Once more, so that some rows leave before others.
        responses += _sample(model, prompts, tokenizer.pad_token_id, {responses[1][0], responses[3][1]})
    prompts = 2 * prompts
    with _said_in_one_line("read"):
        plain = [_plain_log_probs(model, *row) for row in zip(prompts, responses, strict=True)]  # (R, V) each
    _check_tokens(responses, plain, _tolerance(model))
    with _said_in_one_line("trained"):
        _check_learning(model, prompts, responses, plain, tokenizer.pad_token_id)


def probe_logits(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> Tensor:
    """(T, V) float32 logits of a short text, in the memory of the processor."""
    token_ids = torch.tensor(_prompts(model, tokenizer)[1:2], device=model.device)
    with torch.no_grad(), _said_in_one_line("read"):
        logits: Tensor = model(input_ids=token_ids, use_cache=False).logits[0]
    return logits.float().cpu()


def _prompts(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> list[list[int]]:
    """Texts that, with a response, are within the positions of the model."""
    longest = max(1, (max_positions(model.config) or len(_TEXTS[1])) - _NEW_TOKENS)
    return [tokenizer.encode(text)[:longest] or [tokenizer.eos_token_id] for text in _TEXTS]


def _sample(
    model: PreTrainedModel, prompts: list[list[int]], pad_id: int, eos_ids: set[int]
) -> list[list[int]]:
    """The most likely tokens after each prompt."""
    sampler = TransformersSampler(model, eos_ids=eos_ids, pad_id=pad_id, batch_size=len(prompts))
    responses = sampler.generate(prompts, None, max_new_tokens=_NEW_TOKENS, temperature=1.0)
    return [response.token_ids for response in responses]


@torch.no_grad()
def _plain_log_probs(model: PreTrainedModel, prompt: list[int], response: list[int]) -> Tensor:
    token_ids = torch.tensor([prompt + response], device=model.device)
    logits = model(input_ids=token_ids, use_cache=False).logits[0, len(prompt) - 1 : -1]  # (R, V)
    return logits.float().log_softmax(-1)


def _check_tokens(responses: list[list[int]], plain: list[Tensor], tolerance: float) -> None:
    for response, log_probs in zip(responses, plain, strict=True):
        tokens = torch.tensor(response, device=log_probs.device)[:, None]
        behind = log_probs.max(-1).values - log_probs.gather(-1, tokens)[:, 0]  # (R,) 0 where most likely
        if (gap := float(behind.max())) > tolerance:
            raise ApoError(
                "the model samples other tokens with its cache of keys and values than without it: the "
                f"log-prob of one is {gap:.3g} below the largest, expected at most {tolerance:g}"
            )


def _check_learning(
    model: PreTrainedModel,
    prompts: list[list[int]],
    responses: list[list[int]],
    plain: list[Tensor],
    pad_id: int,
) -> None:
    batch = pad_responses(prompts, responses, pad_id, model.device)
    log_probs = ResponseLogProbs(model, temperature=1.0)(*batch.inputs)  # (B, T-1)
    expected = torch.cat(
        [
            row.gather(-1, torch.tensor(response, device=row.device)[:, None])[:, 0]
            for row, response in zip(plain, responses, strict=True)
        ]
    )  # (M,) in row order, as the mask selects
    difference, tolerance = float((log_probs.detach()[batch.mask] - expected).abs().max()), _tolerance(model)
    if not difference <= tolerance:
        raise ApoError(
            f"log-probs of padded rows are off by {difference:.3g} from those of the rows alone, expected at "
            f"most {tolerance:g}: training would learn from wrong numbers"
        )
    # The first weights' gradient alone: it passes all layers, and the others' would take the model's size.
    (gradient,) = torch.autograd.grad(-log_probs.sum(), [model.get_input_embeddings().weight])
    if not (gradient.isfinite().all() and gradient.abs().sum() > 0):
        raise ApoError("the gradient of its input embedding is zero or not finite; nothing would be learned")


def _tolerance(model: PreTrainedModel) -> float:
    """Of log-probs, by the precision that the model computes in."""
    return 1e-2 if model.dtype == torch.float32 else 0.5


@contextmanager
def _said_in_one_line(verb: str) -> Iterator[None]:
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except _FAILURES as error:
        raise ApoError(f"the model cannot be {verb}: {type(error).__name__}: {first_line(error)}") from error
