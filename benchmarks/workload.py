"""The workload that all contestants share: random weights, prompts and lengths with a fixed seed.

It also runs in TRL's environment and therefore imports nothing of this project.
"""

from __future__ import annotations

import argparse
import json
import resource

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

PROMPTS, SAMPLES, PROMPT_TOKENS, NEW_TOKENS = 8, 4, 112, 64
ROWS = {"float32": 1, "bfloat16": 8}  # of our micro-batches: float32 saves memory, bfloat16 time
GROUP = 8  # GRPO's responses per prompt
THREADS = 2
STEPS = 3  # steps of stage 2; the first is a warm-up
LEARNING_RATE, BETA1, BETA2 = 1e-6, 0.5, 1e-3
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
SHAPES = {
    "tiny": {
        "vocab_size": 32,
        "hidden_size": 96,
        "intermediate_size": 384,
        "num_hidden_layers": 3,
        "num_attention_heads": 3,
        "tie_word_embeddings": False,
    },
    "135m": {
        "vocab_size": 49152,
        "hidden_size": 576,
        "intermediate_size": 1536,
        "num_hidden_layers": 30,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
        "tie_word_embeddings": True,
    },
    "500m": {  # what a GPU of 24 GB trains whole
        "vocab_size": 151936,
        "hidden_size": 896,
        "intermediate_size": 4864,
        "num_hidden_layers": 24,
        "num_attention_heads": 14,
        "num_key_value_heads": 2,
        "tie_word_embeddings": True,
    },
}
ON_CPU = ("tiny", "135m")  # the shapes that benchmarks measure unless told otherwise


def random_model(shape: str, dtype: str) -> PreTrainedModel:
    """Model with seeded random weights, in evaluation mode; no token ends a response."""
    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return LlamaForCausalLM(random_config(shape)).to(device, DTYPES[dtype]).eval()


def random_config(shape: str) -> LlamaConfig:
    """The configuration of such a model."""
    return LlamaConfig(**SHAPES[shape], max_position_embeddings=512, bos_token_id=None, eos_token_id=None)


def random_prompts(vocab_size: int) -> list[list[int]]:
    """Distinct random prompts of equal length."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(3, vocab_size, (PROMPTS, PROMPT_TOKENS), generator=generator)
    rows: list[list[int]] = ids.tolist()
    return rows


def number_tokenizer(vocab_size: int) -> PreTrainedTokenizerFast:
    """Tokenizer whose tokens are decimal numbers, for trainers that want text; `<eos>` is never sampled."""
    vocabulary = {str(number): number for number in range(vocab_size)} | {"<eos>": vocab_size}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="0"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="0", eos_token="<eos>", unk_token="0", padding_side="left"
    )


def reward(completion: str) -> float:
    """Reward of 0 or 1 by a hash of the text: as good as random, and the same in every run."""
    return float(sum(map(ord, completion)) % 2)


def contestant_parser(description: str | None) -> argparse.ArgumentParser:
    """Parser of the arguments that all contestants take."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--shape", choices=list(SHAPES), required=True)
    parser.add_argument("--dtype", choices=list(DTYPES), required=True)
    return parser


def print_measurement(
    stage1_seconds: float | None,
    seconds_per_prompt: float | None,
    peak_rss_mib: float | None,
    planned_mib: float | None = None,
) -> None:
    """Print the measurement that `compare.py` reads; None for a measure that the contestant lacks."""
    new_tokens = PROMPTS * SAMPLES * NEW_TOKENS
    measurement = {
        "stage1_tokens_per_second": new_tokens / stage1_seconds if stage1_seconds else None,
        "stage2_seconds_per_prompt": seconds_per_prompt,
        "peak_rss_mib": peak_rss_mib,
        "planned_mib": planned_mib,
    }
    print(json.dumps(measurement), flush=True)


def peak_rss_mib() -> float:
    """Peak memory of this process and of those that it has waited for."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return max(usage.ru_maxrss for usage in usages) / 1024
