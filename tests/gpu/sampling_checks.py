"""The transformers sampler on the device: greedy tokens and frequencies, against float32 on the CPU."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import torch
from scipy.stats import chisquare

from apo_core.sampling.base import Sampler
from apo_core.sampling.transformers_sampler import TransformersSampler
from gpu.check import Finding, at_most
from gpu.models import on_device, random_rows, tiny_model

NEW_TOKENS = 24
DRAWS = 4096
_TIE = 1e-3  # in log-prob: where two tokens are as near as this, rounding may choose either


def transformers_sampler(device: str) -> Iterator[Finding]:
    """In place, as training samples where vLLM is not used."""
    model = on_device(tiny_model(), device)
    sampler = TransformersSampler(model, eos_ids={-1}, pad_id=0, batch_size=256)
    yield from greedy_findings(sampler)
    yield from frequency_findings(sampler)
    prompts, keys = random_rows(64, shortest=3, longest=30), [str(row) for row in range(64)]
    together = _sampled(sampler, prompts, keys)
    sampler.batch_size = 7
    same = sum(map(list.__eq__, together, _sampled(sampler, prompts, keys)))
    yield Finding(
        what="responses that are the same in batches of 64 and of 7",
        result=f"{same} of 64",
        expected="at least 60: rounding may part a few",
        good=same >= 60,
    )


def greedy_findings(sampler: Sampler) -> Iterator[Finding]:
    """Every greedy token is the CPU's most likely one, given the tokens before it, or a tie with it."""
    prompts = random_rows(32, shortest=3, longest=30)
    responses = sampler.generate(prompts, None, max_new_tokens=NEW_TOKENS, temperature=1.0)
    model, worst = tiny_model(), 0.0
    for prompt, response in zip(prompts, responses, strict=True):
        log_probs = _plain(model, prompt + response.token_ids)[len(prompt) - 1 : -1]
        tokens = torch.tensor(response.token_ids)[:, None]
        behind = log_probs.max(-1).values - log_probs.gather(-1, tokens)[:, 0]
        worst = max(worst, float(behind.max()))
    yield at_most("greedy tokens: how far one is behind the CPU's most likely one, in log-prob", worst, _TIE)


def frequency_findings(sampler: Sampler) -> Iterator[Finding]:
    """First tokens of many keys are distributed as the CPU's softmax says, at two temperatures."""
    (prompt,) = random_rows(1, shortest=12, longest=12)
    logits = _plain(tiny_model(), prompt)[-1].double()
    for temperature in (1.0, 0.6):
        keys = [f"draw/{number}" for number in range(DRAWS)]
        drawn = sampler.generate([prompt] * DRAWS, keys, max_new_tokens=1, temperature=temperature)
        counts = Counter(response.token_ids[0] for response in drawn)
        shares = (logits / temperature).softmax(-1)
        p_value = _p_value(counts, shares.tolist())
        yield Finding(
            what=f"frequencies of {DRAWS} first tokens at temperature {temperature:g}: chi-square's p",
            result=f"{p_value:.3g}",
            expected="at least 1e-05",
            good=p_value >= 1e-5,
        )


def _p_value(counts: Counter[int], shares: list[float]) -> float:
    """Tokens that are expected fewer than five times count as one."""
    common = [token for token, share in enumerate(shares) if share * DRAWS >= 5]
    observed = [counts[token] for token in common]
    expected = [shares[token] * DRAWS for token in common]
    rest = DRAWS - sum(expected)
    if rest > 1e-6:
        observed, expected = [*observed, DRAWS - sum(observed)], [*expected, rest]
    return float(chisquare(observed, expected).pvalue)


def _plain(model: torch.nn.Module, token_ids: list[int]) -> torch.Tensor:
    """(T, V) log-probs, on the CPU in float32."""
    with torch.no_grad():
        logits: torch.Tensor = model(input_ids=torch.tensor([token_ids]), use_cache=False).logits[0]
    return logits.log_softmax(-1)


def _sampled(sampler: Sampler, prompts: list[list[int]], keys: list[str]) -> list[list[int]]:
    responses = sampler.generate(prompts, keys, max_new_tokens=NEW_TOKENS, temperature=1.0)
    return [response.token_ids for response in responses]
