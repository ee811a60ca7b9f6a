"""Measures stage 1 of this project with vLLM on the workload of `workload.py`."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from apo_core.model.directory import ModelRef
from apo_core.sampling.vllm_sampler import VllmSampler
from benchmarks import workload


def main() -> None:
    """Measure stage 1 without the start of the engine."""
    arguments = workload.contestant_parser(__doc__).parse_args()
    vocabulary = workload.SHAPES[arguments.shape]["vocab_size"]
    rows = [prompt for prompt in workload.random_prompts(vocabulary) for _ in range(workload.SAMPLES)]
    with tempfile.TemporaryDirectory() as directory:
        workload.random_model(arguments.shape, arguments.dtype).save_pretrained(directory)
        workload.number_tokenizer(vocabulary).save_pretrained(directory)
        sampler = VllmSampler(
            ModelRef(path=Path(directory), dtype=arguments.dtype),
            eos_ids=set(),
            max_length=workload.PROMPT_TOKENS + workload.NEW_TOKENS,
            max_num_seqs=len(rows),
            gpu_memory_utilization=0.6,
            kv_cache_gib=1.0,
            tensor_parallel_size=1,
            enforce_eager=True,
        )
    with sampler:
        keys = [str(row) for row in range(len(rows))]
        started = time.perf_counter()
        sampler.generate(rows, keys, max_new_tokens=workload.NEW_TOKENS, temperature=1.0)
        seconds = time.perf_counter() - started
    workload.print_measurement(seconds, None, None)


if __name__ == "__main__":
    main()
