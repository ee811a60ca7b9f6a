"""The rule of four eyes: who started the run that made a version does not approve it.

A typed name proves nothing. An account of MLflow's server proves that somebody has its password; so where the
run had an account, the approval has another.
"""

from __future__ import annotations

from apo_core.decisions.audit_chain import Entry
from apo_core.decisions.person import may_be_same_person


def needs_account(candidate: Entry) -> bool:
    """Whether a `candidate` entry is approved with an account of MLflow's server only."""
    rules = candidate.evidence
    return rules.get("started_by_account") is not None and bool(rules["four_eyes"])


def objection(candidate: Entry, by: str, account: str | None) -> str:
    """What forbids a person to approve a `candidate` entry, as a sentence; empty if nothing does.

    An account that has the starter's name counts as the starter's, though the run had another one: that of a
    scheduled run is the service's, and its starter the author of a commit.

    Args:
        candidate: the entry.
        by: the person.
        account: the person's own at MLflow's server; None if it is not known.
    """
    rules = candidate.evidence
    if not rules["four_eyes"]:
        return ""
    if needs_account(candidate) and account in (None, rules["started_by_account"]):
        own = "none, as from a form or tags" if account is None else "the same"
        return (
            f"the run that made it had account {rules['started_by_account']} of MLflow's server, and this "
            f"decision has {own}; another person approves, by `apo approve` with an account of their own "
            "(promotion.four_eyes)"
        )
    starter = rules["started_by"]
    for name, author in ((by, by), (account, f"account {account}")):
        if name is not None and may_be_same_person(name, starter):
            return (
                f"{starter} started the run that made it, and {author} may be the same person; another "
                "approves, by a name that tells them apart (promotion.four_eyes)"
            )
    return ""
