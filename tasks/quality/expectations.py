"""Run checks of a table by Great Expectations, and report each verdict with the rows that failed."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import great_expectations as gx
import great_expectations.expectations as gxe
import pandas as pd

from apo_core.errors import ApoError
from apo_core.system.files import write_json

_REPORTED_ROWS = 10  # per check
_REPORTED_LENGTH = 200  # characters of a value


class Check(NamedTuple):
    """An expectation, with the field and the problem that it is reported as."""

    field: str
    problem: str
    expectation: gxe.Expectation
    reason: str | None = None  # the column that says of a row what its problem is


class DataQualityError(ApoError):
    """Checks failed; the report lists all of them, the message the first rows."""


def validate(
    frame: pd.DataFrame, checks: list[Check], *, table: Path, row: str, report: Path
) -> dict[str, Any]:
    """Run all checks on a table and write the report.

    Args:
        frame: the table, with the columns that were derived for the checks.
        checks: to be run.
        table: names the table in errors.
        row: the column that names a row in errors.
        report: JSON file to write, also where a check fails.

    Returns:
        The report: rows and, for each check, its verdict and its first failing rows.

    Raises:
        DataQualityError: a check failed.
    """
    results = _results(frame, checks, row)
    verdicts = [_verdict(check, results[index], row) for index, check in enumerate(checks)]
    content = {"table": str(table), "rows": len(frame), "checks": verdicts}
    write_json(report, content)
    failed = [verdict for verdict in verdicts if not verdict["passed"]]
    if failed:
        raise DataQualityError(_message(table, failed, report))
    return content


def _results(frame: pd.DataFrame, checks: list[Check], row: str) -> dict[int, Any]:
    """Results by the position of their check; Great Expectations returns them in another order."""
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    asset = context.data_sources.add_pandas("workspace").add_dataframe_asset("table")
    batch = asset.add_batch_definition_whole_dataframe("all").get_batch({"dataframe": frame})
    suite = gx.ExpectationSuite(name="contract")
    for index, check in enumerate(checks):
        check.expectation.meta = {"position": index}
        suite.add_expectation(check.expectation)
    result_format = {"result_format": "COMPLETE", "unexpected_index_column_names": [row]}
    outcome = batch.validate(suite, result_format=result_format)
    return {result.expectation_config.meta["position"]: result for result in outcome.results}


def _verdict(check: Check, result: Any, row: str) -> dict[str, Any]:
    if result.exception_info.get("exception_message"):
        raise RuntimeError(f"{check.problem}: {result.exception_info['exception_message']}")
    rows = result.result.get("unexpected_index_list") or []
    return {
        "field": check.field,
        "must_not": check.problem,
        "expectation": result.expectation_config.type,
        "passed": bool(result.success),
        "failed_rows": len(rows),
        "rows": [_shown(entry, row) for entry in rows[:_REPORTED_ROWS]],
        "reason": str(rows[0][check.reason]) if rows and check.reason else None,
        "observed": _plain(result.result.get("observed_value")),
    }


def _shown(entry: dict[str, Any], row: str) -> dict[str, str]:
    """The row's name and the values that failed, short enough to read."""
    return {"row": str(entry[row])} | {
        column: str(value)[:_REPORTED_LENGTH] for column, value in entry.items() if column != row
    }


def _plain(value: Any) -> Any:
    return value if isinstance(value, int | float | str | bool | None) else str(value)


def _message(table: Path, failed: list[dict[str, Any]], report: Path) -> str:
    first = failed[0]
    row = first["rows"][0]["row"] if first["rows"] else "the whole table"
    more = f" and {first['failed_rows'] - 1} more rows" if first["failed_rows"] > 1 else ""
    others = f"; {len(failed) - 1} other checks failed too" if len(failed) > 1 else ""
    reason = f": {first['reason']}" if first["reason"] else ""
    observed = "" if first["rows"] or first["observed"] is None else f", found {first['observed']}"
    problem = f"{first['field']}: {first['must_not']}{reason}{observed}"
    return f"{table}: {row}{more}: {problem}{others} (rows in {report})"
