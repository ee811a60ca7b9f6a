"""What the registry shows of the log of decisions: aliases, tags, and the head of the log.

The registry is a mirror. Nothing here decides: `sync_aliases` sets it to what the log says, and may do so
again at any time.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from apo_core.decisions.approval_rule import State, state_of
from apo_core.decisions.audit_chain import Entry, Head, head_of
from apo_core.errors import ApoError
from tasks.tracking.model_files import POLICY_TAG
from tasks.tracking.registry import (
    CANDIDATE,
    CHAMPION,
    has_model,
    model_aliases,
    model_tags,
    registry_errors,
    versions_of,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

_HEAD_TAG = "audit_head"  # of the registered model: "SEQUENCE:HASH"
_ASKED_TAG = "audit_asked"  # of the registered model: when somebody last wanted to decide
_STATUS_TAG = "approval"  # of a version, for people: "approved by Ada: why"


def sync_aliases(client: MlflowClient, model: str, entries: Sequence[Entry], described: int) -> list[str]:
    """Set aliases, tags and the remembered head to what a log says.

    Args:
        client: of the registry.
        model: name of the registered model.
        entries: its log, verified; not empty.
        described: number of entries whose versions already have their tag and which the head covers.

    Returns:
        A line for each alias that moved.

    Raises:
        ApoError: the registry refuses, or does not answer.
    """
    with registry_errors():
        if not has_model(client, model):  # lost, before there was any version
            return []
        versions = versions_of(client, model)
        moved = _set_aliases(client, model, versions, state_of(entries))
        for entry in entries[described:]:
            if entry.version in versions:
                status = f"{entry.event} by {entry.by}: {entry.reason}"
                client.set_model_version_tag(model, entry.version, _STATUS_TAG, status)
        if len(entries) > described:
            sequence, digest = head_of(entries)
            client.set_registered_model_tag(model, _HEAD_TAG, f"{sequence}:{digest}")
    return moved


def remembered_head(client: MlflowClient, model: str) -> Head | None:
    """Read what the registry remembers of a model's log; None if nothing, or if there is no such model yet.

    Raises:
        ApoError: the registry does not answer, or the tag has an unknown form.
    """
    with registry_errors():
        tag = model_tags(client, model).get(_HEAD_TAG)
    if tag is None:
        return None
    sequence, _, digest = tag.partition(":")
    if not sequence.isdigit():
        raise ApoError(
            f"{model}: its tag {_HEAD_TAG} is {tag!r}, expected SEQUENCE:HASH as apo-flow writes it"
        )
    return Head(int(sequence), digest)


def mark_as_asked(client: MlflowClient, model: str) -> None:
    """Note on the registered model that somebody wants to decide, which shows that the person may change it.

    A model that has no version yet is made: its first candidates are compared, too.

    Raises:
        ApoError: the registry refuses.
    """
    with registry_errors():
        if not has_model(client, model):
            client.create_registered_model(model)
        client.set_registered_model_tag(model, _ASKED_TAG, datetime.now(UTC).isoformat())


def holds_proposed_policy(state: State, version: str, tags: dict[str, str]) -> bool:
    """Whether a version holds the policy that was proposed as that version.

    It need not: MLflow may give the number of a deleted version to another policy.
    """
    candidate = state.candidates.get(version)
    return candidate is None or candidate.evidence.get(POLICY_TAG) in (None, tags.get(POLICY_TAG))


def _set_aliases(
    client: MlflowClient, model: str, versions: dict[str, ModelVersion], state: State
) -> list[str]:
    aliases = model_aliases(client, model)
    moved = []
    for alias, decided in ((CHAMPION, state.champion), (CANDIDATE, state.candidate)):
        target = decided if decided is not None and _is_there(decided, versions, state) else None
        if aliases.get(alias) == target:
            continue
        if target is None:
            client.delete_registered_model_alias(model, alias)
        else:
            client.set_registered_model_alias(model, alias, target)
        now = "no version" if target is None else f"version {target}"
        why = "" if target == decided else f": version {decided} is gone, or holds another policy now"
        moved.append(f"{model}: {alias} is {now}{why}")
    return moved


def _is_there(version: str, versions: dict[str, ModelVersion], state: State) -> bool:
    """Whether the registry still has the version that was decided on."""
    return version in versions and holds_proposed_policy(state, version, versions[version].tags)
