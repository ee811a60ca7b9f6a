import pytest

from apo_core.errors import VerifierFailed
from apo_core.verifiers import ErrorBudget, RowError


def errors(*rows):
    return [RowError(row, f"error: of {row}") for row in rows]


def test_a_share_of_the_rows_may_fail_and_no_more():
    budget = ErrorBudget(0.02, rows=100)
    budget.spend(errors("a/0"))
    budget.spend([])
    budget.spend(errors("b/1"))
    with pytest.raises(VerifierFailed) as failed:
        budget.spend(errors("c/0", "d/0"))
    assert str(failed.value) == (
        "the verifier failed on 4 of 100 rows, more than verifier.max_error_share (0.02) allows: "
        "a/0: of a/0; b/1: of b/1; c/0: of c/0 and 1 more"
    )


def test_where_no_share_is_allowed_the_first_failure_stops():
    with pytest.raises(VerifierFailed, match=r"failed on 1 of 9 rows.*\(0\) allows: a: of a$"):
        ErrorBudget(0.0, rows=9).spend(errors("a"))


def test_only_the_last_batches_count():
    budget = ErrorBudget(0.1, rows=20, batches=2)
    for _ in range(10):
        budget.spend(errors("a"))
    budget.spend([])
    budget.spend(errors("a", "b"))
    with pytest.raises(VerifierFailed, match="failed on 3 of 20"):
        budget.spend(errors("c"))


def test_errors_of_an_earlier_process_count():
    budget = ErrorBudget(0.1, rows=20, batches=2)
    budget.remember(2)
    with pytest.raises(VerifierFailed, match=r"failed on 3 of 20 rows.*: a: of a and 2 more"):
        budget.spend(errors("a"))
