"""What a person is shown who is to decide on a version: the question, gains, links, hashes last."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from apo_core.decisions.approval_rule import state_of
from apo_core.decisions.audit_chain import Entry
from tasks.decisions.aliases import read
from tasks.decisions.log import AuditStore
from tasks.lineage.lineage import HASHES, lineage_of
from tasks.reporting.markdown import cell
from tasks.tracking.registry import registry_errors, resolve
from tasks.tracking.runs import PAGE_TAG, run_page, version_page

if TYPE_CHECKING:
    from mlflow import MlflowClient

_TEXT = 1000  # signs of a reason, at most


def describe_version(client: MlflowClient, store: AuditStore, model: str, version: str) -> str:
    """What is to be known of a candidate, as Markdown.

    Raises:
        ApoError: there is no such version, its run has lost what is asked for, or registry or log refuse.
    """
    registered = resolve(client, f"{model}/{version}")
    found = lineage_of(client, store, registered)
    candidate = state_of(read(client, store, model)).candidates.get(version)
    with registry_errors():
        tags = client.get_run(registered.run_id).data.tags
    links = {
        "MLflow run": run_page(client, registered.run_id),
        "model version": version_page(client, model, version),
        "pipeline run": tags.get(PAGE_TAG),
    }
    shown = {name: link for name, link in links.items() if link is not None}
    return as_markdown(f"{model} version {version}", candidate, found, shown)


def as_markdown(
    title: str, candidate: Entry | None, lineage: Mapping[str, str], links: Mapping[str, str]
) -> str:
    """The page of a version, in its order of importance.

    Args:
        title: names the version.
        candidate: what it was proposed on; None where it never was.
        lineage: of `lineage_of`.
        links: addresses by their names.
    """
    blocks = [f"**{cell(title)}**"]
    if candidate is not None:
        expires = datetime.fromisoformat(candidate.evidence["expires"]).astimezone(UTC)
        reason = cell(candidate.reason, _TEXT)
        blocks[0] += f" waits for a decision until {expires:%Y-%m-%d %H:%M} UTC: {reason}"
    blocks.append(_listed({name: text for name, text in lineage.items() if name not in ("version", *HASHES)}))
    if links:
        blocks.append(", ".join(f"[{name}]({link})" for name, link in links.items()))
    blocks.append("Made from:")
    blocks.append(_listed({name: text for name, text in lineage.items() if name in HASHES}))
    return "\n\n".join(blocks)


def _listed(found: Mapping[str, str]) -> str:
    return "\n".join(f"- {name}: {cell(text, _TEXT)}" for name, text in found.items())
