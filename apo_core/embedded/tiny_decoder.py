"""The tiny decoder of the embedded task: character tokens, pre-trained from scratch on arithmetic chains."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from torch.nn.functional import cross_entropy
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

from apo_core.embedded.arithmetic import ALPHABET, Chain
from apo_core.model.micro_batch import MicroBatch, pad_responses
from apo_core.system.progress import progress

_OFF = (-3, -2, -1, 1, 2, 3)


def character_tokenizer() -> PreTrainedTokenizerFast:
    """Make a tokenizer with one token per character of the task's alphabet."""
    vocabulary = {text: index for index, text in enumerate(["<pad>", "<eos>", "<unk>", *ALPHABET])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("."), behavior="isolated")
    tokenizer.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        eos_token="<eos>",
        unk_token="<unk>",
        clean_up_tokenization_spaces=False,
    )


def tiny_decoder(
    tokenizer: PreTrainedTokenizerFast, *, hidden_size: int, layers: int, heads: int, seed: int
) -> LlamaForCausalLM:
    """Make a Llama decoder with seeded random weights."""
    torch.manual_seed(seed)
    return LlamaForCausalLM(tiny_config(tokenizer, hidden_size=hidden_size, layers=layers, heads=heads))


def tiny_config(
    tokenizer: PreTrainedTokenizerFast, *, hidden_size: int, layers: int, heads: int
) -> LlamaConfig:
    """Make the configuration of `tiny_decoder`."""
    return LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden_size,
        intermediate_size=4 * hidden_size,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        max_position_embeddings=512,
        tie_word_embeddings=False,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
    )


def pretrain(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    examples: Iterator[Chain],
    *,
    steps: int,
    batch_size: int,
    learning_rate: float,
    guess_share: float,
    guess_error: float,
    seed: int,
) -> list[float]:
    """Pre-train on completions: some answer at once, often wrongly, the others work step by step.

    The mixture leaves reinforcement learning something to gain: the model can do both, and only working step
    by step is reliable. Wrong guesses in the examples ensure that for every seed; without them a model of
    this size sometimes learns to add up at once, and then there is little to gain.

    Returns:
        The loss of every step, in nats per completion token.
    """
    rng = random.Random(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, betas=(0.9, 0.98), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=learning_rate, total_steps=steps, pct_start=min(0.1, 50 / steps)
    )
    losses = []
    model.train()
    with progress(total=steps, description="reference", unit="step") as bar:
        for _ in range(steps):
            chains = itertools.islice(examples, batch_size)
            completed = _completed(chains, guess_share, guess_error, rng)
            loss = _completion_loss(model, _halves(tokenizer, completed))
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
            bar.set_postfix_str(f"loss {losses[-1]:.3f}", refresh=False)
            bar.update()
    model.eval()
    return losses


def _completed(
    chains: Iterator[Chain], guess_share: float, guess_error: float, rng: random.Random
) -> list[tuple[str, str]]:
    """Pair the prompt of each chain with a completion: a guess or the worked steps."""
    completed = []
    for chain in chains:
        completion = chain.worked
        if rng.random() < guess_share:
            completion = chain.guess(rng.choice(_OFF) if rng.random() < guess_error else 0)
        completed.append((chain.prompt, completion))
    return completed


def _halves(tokenizer: PreTrainedTokenizerFast, completed: list[tuple[str, str]]) -> list[MicroBatch]:
    """Pad the shorter and the longer examples separately: together a third would be padding."""
    completed = sorted(completed, key=lambda example: len(example[0]) + len(example[1]))
    middle = len(completed) // 2
    return [_padded(tokenizer, half) for half in (completed[:middle], completed[middle:]) if half]


def _padded(tokenizer: PreTrainedTokenizerFast, completed: list[tuple[str, str]]) -> MicroBatch:
    prompts, completions = zip(*completed, strict=True)
    ended = [[*ids, tokenizer.eos_token_id] for ids in tokenizer(list(completions))["input_ids"]]
    return pad_responses(tokenizer(list(prompts))["input_ids"], ended, tokenizer.pad_token_id)


def _completion_loss(model: PreTrainedModel, batches: list[MicroBatch]) -> torch.Tensor:
    """Compute the mean cross-entropy over the completion tokens of all batches."""
    total, count = torch.zeros(()), 0
    for batch in batches:
        logits = model(input_ids=batch.token_ids, attention_mask=batch.attended.long()).logits  # (B, T, V)
        targets = batch.token_ids[:, 1:][batch.mask]
        total = total + cross_entropy(logits[:, :-1][batch.mask], targets, reduction="sum")
        count += targets.numel()
    return total / count
