"""`python -m faults DIRECTORY --kills 200`: goes on where it was interrupted, and ends with a table.

Exit status 1 if anything did not end as it should.
"""

from __future__ import annotations

import argparse
import json
import sys
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
    arguments = parser.parse_args()
    root = arguments.directory.resolve()
    root.mkdir(parents=True, exist_ok=True)
    results = root / "results.jsonl"
    known = [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []
    _run_faults(root, results, known)
    _run_kills(root, results, known, arguments.kills)
    sys.exit(not _print(known))


def _run_faults(root: Path, results: Path, known: list[dict]) -> None:
    done = {row["name"] for row in known}
    finished = undisturbed(root, "apo")
    for fault in all_faults(root):
        if fault.name not in done:
            # A path of its own: MLflow's client keeps what it knows of a database by its path.
            problem = problem_of(fault, finished, root / f"fault-{len(known)}")
            _keep(results, known, {"name": fault.name, "kills": 0, "problems": [problem] if problem else []})


def _run_kills(root: Path, results: Path, known: list[dict], kills: int) -> None:
    seed = 0
    while sum(row["kills"] for row in known) < kills:
        setting = list(SETTINGS)[seed % len(SETTINGS)]
        name = f"kills: {setting}, seed {seed}"
        if name not in {row["name"] for row in known}:
            trial = disturbed(root, setting, seed, _KILLS_PER_TRIAL)
            row = {"name": name, "kills": len(trial.ways), "ways": trial.ways, "problems": trial.problems}
            _keep(results, known, row)
        seed += 1


def _keep(results: Path, known: list[dict], row: dict) -> None:
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
