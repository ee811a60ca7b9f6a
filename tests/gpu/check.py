"""A check: what it is called, what it needs, and the rows that it adds to the report."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from typing import Any, Literal

Verdict = Literal["holds", "fails", "figure", "left out"]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the report."""

    check: str
    what: str
    result: str
    expected: str = ""
    """Empty for a figure that is only reported."""
    verdict: Verdict

    def as_json(self) -> dict[str, str]:
        """The object of the JSON file."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What a check yields: a figure, and whether it is as it should be; `good` is None for a mere figure."""

    what: str
    result: str
    expected: str = ""
    good: bool | None = None


@dataclass(frozen=True)
class Check:
    """Something to be shown on a device; run in a process of its own."""

    name: str
    run: Callable[[str], Iterator[Finding]]
    """Is given the device, `cuda` or `cpu`."""
    needs: tuple[str, ...] = ()
    """Modules that it cannot do without."""
    on_every_gpu: bool = False
    """Run by as many ranks as there are GPUs; the first one's rows count."""

    def reason_to_leave_out(self) -> str | None:
        """Why the check cannot run here; None if it can."""
        for need in self.needs:
            if find_spec(need) is None:
                return f"{need} is not installed"
        return None

    def rows(self, device: str) -> list[Row]:
        """Run the check."""
        return [self._row(finding) for finding in self.run(device)]

    def _row(self, finding: Finding) -> Row:
        verdict: Verdict = "figure" if finding.good is None else "holds" if finding.good else "fails"
        return Row(
            check=self.name,
            what=finding.what,
            result=finding.result,
            expected=finding.expected,
            verdict=verdict,
        )

    def row_of(self, verdict: Verdict, result: str) -> Row:
        """One row for the whole check: left out, or failed as a whole."""
        return Row(check=self.name, what="the whole check", result=result, verdict=verdict)


def at_most(what: str, figure: float, limit: float) -> Finding:
    """A figure that must not be above a limit."""
    return Finding(what=what, result=f"{figure:.3g}", expected=f"at most {limit:g}", good=figure <= limit)


def rows_from(objects: list[dict[str, Any]]) -> list[Row]:
    """The rows of a JSON file."""
    return [Row(**values) for values in objects]
