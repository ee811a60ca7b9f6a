"""`python -m faults DIRECTORY --kills 200`: goes on where it was interrupted, and ends with a table.

Exit status 1 if anything did not end as it should.
"""

from __future__ import annotations

import argparse
import json
import sys
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from pathlib import Path

from faults.every import all_faults
from faults.fault import problem_of
from faults.kills import SETTINGS, disturbed, undisturbed

_KILLS_PER_TRIAL = 12


def main() -> None:
    """Run what has no result yet."""
    parser = argparse.ArgumentParser()
    parser.add_argument("directory", type=Path, help="for workspaces and results; kept between sittings")
    parser.add_argument("--kills", type=int, default=200, help="of runs, over all settings")
    parser.add_argument("--jobs", type=int, default=2, help="how many run beside each other")
    arguments = parser.parse_args()
    root = arguments.directory.resolve()
    root.mkdir(parents=True, exist_ok=True)
    results = root / "results.jsonl"
    known = [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []
    undisturbed(root, next(iter(SETTINGS)))
    names = [fault.name for fault in all_faults(root)]
    done = {row["name"] for row in known}
    with ProcessPoolExecutor(arguments.jobs) as pool:
        faults = [pool.submit(_fault, root, i) for i, name in enumerate(names) if name not in done]
        _keep(results, known, faults)
        trials = -(-arguments.kills // _KILLS_PER_TRIAL)
        kills = [pool.submit(_kills, root, seed) for seed in range(trials) if _name_of(seed) not in done]
        _keep(results, known, kills)
        # Where a run completed before its last disturbance, more trials are needed.
        while sum(row["kills"] for row in known) < arguments.kills:
            _keep(results, known, [pool.submit(_kills, root, trials)])
            trials += 1
    sys.exit(not _print(known))


def _fault(root: Path, i: int) -> dict:
    fault = all_faults(root)[i]
    # A path of its own: MLflow's client keeps what it knows of a database by its path.
    problem = problem_of(fault, undisturbed(root, next(iter(SETTINGS))), root / f"fault-{i}")
    return {"name": fault.name, "kills": 0, "problems": [problem] if problem else []}


def _kills(root: Path, seed: int) -> dict:
    trial = disturbed(root, _setting_of(seed), seed, _KILLS_PER_TRIAL)
    return {
        "name": _name_of(seed),
        "kills": len(trial.ways),
        "ways": trial.ways,
        "problems": trial.problems,
    }


def _setting_of(seed: int) -> str:
    return list(SETTINGS)[seed % len(SETTINGS)]


def _name_of(seed: int) -> str:
    return f"kills: {_setting_of(seed)}, seed {seed}"


def _keep(results: Path, known: list[dict], rows: list[Future[dict]]) -> None:
    for future in as_completed(rows):
        row = future.result()
        known.append(row)
        with results.open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(f"{row['name']}: {'; '.join(row['problems']) or 'as it should be'}", flush=True)


def _print(known: list[dict]) -> bool:
    """Print the summary; says whether all is well."""
    bad = [row for row in known if row["problems"]]
    kills = sum(row["kills"] for row in known)
    ways = sorted({way for row in known for way in row.get("ways", ())})
    faults = [row for row in known if not row["kills"]]
    print(f"\n{len(faults)} faults, {kills} kills in {len(ways)} ways, {len(bad)} not as they should be")
    for row in bad:
        print(f"  {row['name']}: {'; '.join(row['problems'])}")
    return not bad


if __name__ == "__main__":
    main()
