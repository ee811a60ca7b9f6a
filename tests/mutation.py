"""`make mutants` runs mutmut over the files of `[tool.mutmut]`, and ends with a table.

Lists every mutant that no test has noticed; docs/contributing.md says of which kinds they are. Exit status 1
if fewer than 95% of all mutants are noticed. mutmut's work is in mutants/, for `mutmut browse`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

MUTANTS = Path("mutants")  # mutmut allows no other
LEAST_SCORE = 0.95
# One thread each: torch's other threads would not be there in the processes that mutmut forks.
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}


def main() -> None:
    """Begin anew: what mutmut has kept of an earlier run may be of tests that are there no more."""
    if MUTANTS.exists():
        shutil.rmtree(MUTANTS)
    subprocess.run(_mutmut("run"), check=True, env=ENVIRONMENT)
    results = _results()
    for name, status in results.items():
        if status != "killed":
            print(_output("show", name))
    sys.exit(not _print_table(results))


def _mutmut(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "mutmut", *arguments]


def _output(*arguments: str) -> str:
    return subprocess.run(_mutmut(*arguments), check=True, capture_output=True, encoding="utf-8").stdout


def _results() -> dict[str, str]:
    """What became of every mutant, by name: `killed`, `survived`, `no tests`, `timeout` and so on."""
    rows = (line.strip().rpartition(": ") for line in _output("results", "--all", "true").splitlines())
    return {name: status for name, _, status in rows if name}


def _print_table(results: dict[str, str]) -> bool:
    """Print mutants, noticed mutants and score of every file; return whether the score is high enough."""
    files = {name: f"{name.rpartition('.')[0].replace('.', '/')}.py" for name in results}
    mutants = Counter(files.values())
    killed = Counter(files[name] for name, status in results.items() if status == "killed")
    width = max(map(len, mutants))
    print(f"{'file':{width}}  mutants  killed  score")
    for file, count in [*sorted(mutants.items()), ("all", mutants.total())]:
        own = killed.total() if file == "all" else killed[file]
        print(f"{file:{width}}  {count:7}  {own:6}  {own / count:.1%}")
    return killed.total() >= LEAST_SCORE * mutants.total()


if __name__ == "__main__":
    main()
