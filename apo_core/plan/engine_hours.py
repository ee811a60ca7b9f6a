"""What stages have in common that start an engine and sample with it."""

from __future__ import annotations

from apo_core.plan.hardware import Machine
from apo_core.plan.items import BYTES
from apo_core.plan.run_shape import Part, RunShape, SamplerShape
from apo_core.plan.seconds import Decoding

IMPORT_SECONDS = 25.0  # of a process with torch, transformers and DeepSpeed, and NCCL's first meeting
# vLLM's start beside reading the weights: compilation and graphs; without them, and on CPU.
VLLM_SECONDS = {"compiled": 90.0, "eager": 40.0}


def start_part(stage: str, run: RunShape, sampler: SamplerShape, machine: Machine, *, engines: int) -> Part:
    """What a stage does before its first token."""
    weights = run.model.parameters * BYTES[run.dtype]
    kind = "eager" if sampler.eager or not machine.gpus else "compiled"
    engine = VLLM_SECONDS[kind] if sampler.vllm else 0.0
    seconds = IMPORT_SECONDS + engines * (engine + 2 * weights / machine.disk)
    reason = f"imports, {weights / 1e9:.1f} GB of weights read twice"
    reason += f", {engines} x {engine:.0f} s of vLLM" if engine else ""
    return Part(stage, "start", seconds, reason)


def decoding_of(run: RunShape, sampler: SamplerShape, rows: float) -> Decoding:
    """How so many responses are sampled."""
    return Decoding(
        rows=rows,
        slots=max(1.0, min(sampler.slots, rows)),
        prompt_tokens=run.prompt_tokens,
        lengths=run.lengths,
        vllm=sampler.vllm,
    )
