"""Measurements of speed, memory and learning: which module measures what, and how to run it.

Figures of different machines or runs cannot be compared; every benchmark compares contestants within one
run and reports ratios. Run the commands in the checkout's environment; `make bench` also builds TRL's
environment in `.venv/peers`. Times are for two cores.

Ours and TRL's trainers, on a workload of random weights and prompts (`workload.py`): `make bench`, half an
hour.

    python -m benchmarks.compare --peer-python .venv/peers/bin/python
        Speed and memory of both stages, beside TRL's A2POTrainer and GRPOTrainer. Writes table, picture and
        all measurements to benchmarks/results/{tiny,135m}.{md,png,json}. Contestants: `contestants.py`;
        their processes: `ours.py`, `ours_vllm.py`, `peer_trl.py`; the table: `report.py`; the least
        seconds that this machine could take: `floor.py`.
    .venv/peers/bin/python -m benchmarks.peer_losses
        Our losses, gradients and advantages against TRL's own functions. Prints the differences, fails if
        there are any beyond rounding. Seconds.

Algorithms on one task:

    python -m benchmarks.comparison --parallel 2        (`make compare`)
        A*-PO, GRPO, PPO, REBEL and OAPL at equal time and at equal prompts, each tuned with the same number
        of trials. Writes benchmarks/results/comparison.{md,png,json}. About an hour.
    python -m benchmarks.comparison.stability --parallel 2
        Learning rates, updates per batch and baselines at which A*-PO collapses, and what a guard would
        detect. Writes benchmarks/results/stability.{md,png,json}. About a quarter of an hour.

Parts, which print their tables:

    python -m benchmarks.phases
        Time of prefill, decode, forward, backward and optimizer, and how far each is from the floor. A
        minute.
    python -m benchmarks.adaptive
        Samples per prompt and error of V*: adaptive sampling beside fixed numbers of samples. A few
        minutes.
    python -m benchmarks.values
        V*, kept prompts and the guard's limits on simulated populations of success rates, published and
        pooled. Writes benchmarks/results/values.{md,png}. Ten minutes on one core.
    python -m benchmarks.coverage
        How often the evaluation's 95% intervals cover the true value. Six minutes on one core.
    python -m benchmarks.promotion_errors
        How often small sets veto a better policy, and few differing prompts promote an equal one. Two
        minutes.
    python -m benchmarks.verifiers [--only VERIFIER]
        Speed, errors and memory of the verifiers on hostile completions. Seconds per verifier, except
        `math`, which waits for its time limit on many of them.
    python -m benchmarks.code_problems
        Programs per second of verifier `code`, on a right and a wrong program of 200 problems. A minute.
    python -m benchmarks.hostile_programs
        10,000 programs that try to get out of its sandbox, to pass without solving anything, or to stop the
        scoring; fails if one does. Half an hour.

What the results mean, and what was tried besides, is in docs/experiments.md.
"""
