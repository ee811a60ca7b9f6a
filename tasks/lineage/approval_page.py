"""The page for a person who decides on a version: the question, gains, links, and hashes last."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from apo_core.decisions.approval_rule import state_of
from apo_core.decisions.audit_chain import Entry
from apo_core.decisions.four_eyes import needs_account
from tasks.decisions.log import DecisionLog
from tasks.lineage.lineage import HASHES, lineage_of
from tasks.reporting.markdown import cell
from tasks.tracking.registry import parse_spec, registry_errors, resolve
from tasks.tracking.runs import PAGE_TAG, run_page, version_page

_MAX_TEXT = 1000  # characters of a reason


def describe_version(log: DecisionLog, version: str) -> str:
    """Describe a candidate as Markdown.

    Raises:
        ApoError: there is no such version, its run has lost an artifact, or registry or log refuse.
    """
    client, model, entries = log.client, log.model, log.read()
    registered = resolve(client, parse_spec(f"{model}/{version}"))
    lineage = lineage_of(client, registered, entries)
    candidate = state_of(entries).candidates.get(version)
    with registry_errors():
        tags = client.get_run(registered.run_id).data.tags
    links = {
        "MLflow run": run_page(client, registered.run_id),
        "model version": version_page(client, model, version),
        "pipeline run": tags.get(PAGE_TAG),
    }
    known = {name: link for name, link in links.items() if link is not None}
    return as_markdown(f"{model} version {version}", candidate, lineage, known)


def as_markdown(
    title: str, candidate: Entry | None, lineage: Mapping[str, str], links: Mapping[str, str]
) -> str:
    """Lay out the page of a version, most important first.

    Args:
        title: names the version.
        candidate: its entry in the log; None if it never was a candidate.
        lineage: lines of `lineage_of`.
        links: addresses, by name.
    """
    blocks = [f"**{cell(title)}**"]
    if candidate is not None:
        expires = datetime.fromisoformat(candidate.evidence["expires"]).astimezone(UTC)
        reason = cell(candidate.reason, _MAX_TEXT)
        blocks[0] += f" waits for a decision until {expires:%Y-%m-%d %H:%M} UTC: {reason}"
        if needs_account(candidate):
            blocks.append(
                "This form can only reject it: approve by `apo approve`, with an MLflow account of your own."
            )
    blocks.append(_listed({name: text for name, text in lineage.items() if name not in ("version", *HASHES)}))
    if links:
        blocks.append(", ".join(f"[{name}]({link})" for name, link in links.items()))
    blocks.append("Made from:")
    blocks.append(_listed({name: text for name, text in lineage.items() if name in HASHES}))
    return "\n\n".join(blocks)


def _listed(lines: Mapping[str, str]) -> str:
    return "\n".join(f"- {name}: {cell(text, _MAX_TEXT)}" for name, text in lines.items())
