"""The registry follows the log of decisions: aliases, tags, and how far it remembers the log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from apo_core.decisions.approval_rule import State, state_of
from apo_core.decisions.audit_chain import Entry, Head, head_of
from apo_core.errors import ApoError
from tasks.decisions.log import AuditStore, once, read_log
from tasks.tracking.registry import (
    CANDIDATE,
    CHAMPION,
    POLICY_TAG,
    Registered,
    model_aliases,
    model_tags,
    registry_errors,
    resolve,
    versions_of,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient

_HEAD = "audit_head"  # tag of the registered model
_STATUS = "approval"  # tag of a version, for people: "approved by Ada: why"


def read(client: MlflowClient, store: AuditStore, model: str) -> list[Entry]:
    """A model's log, compared with what the registry remembers of it.

    Raises:
        AuditBroken: it is not what was written.
    """
    return read_log(store, model, remembered_head(client, model))


def follow(client: MlflowClient, store: AuditStore, model: str) -> list[str]:
    """Set aliases, tags and the remembered head to what the log says; a line for every alias that moved.

    Another process may write to the log meanwhile: what is right is looked at again after it was set.

    Raises:
        AuditBroken: the log is not what was written; nothing is set.
    """
    store = once(store)
    done: list[str] = []
    while True:
        head = remembered_head(client, model)
        entries = read_log(store, model, head)
        if not entries:
            return done
        with registry_errors():
            done += _set_aliases(client, model, state_of(entries))
            _describe(client, model, entries[0 if head is None else head.sequence :])
            if head != head_of(entries):
                sequence, digest = head_of(entries)
                client.set_registered_model_tag(model, _HEAD, f"{sequence}:{digest}")
        if len(read_log(store, model)) == len(entries):
            return done


def resolve_approved(client: MlflowClient, store: AuditStore, text: str) -> Registered:
    """The version that a person names, by aliases as the log has them: see `registry.resolve`."""
    registered = resolve(client, text)
    return resolve(client, text) if follow(client, store, registered.name) else registered


def remembered_head(client: MlflowClient, model: str) -> Head | None:
    """What the registry remembers of a model's log; None where there is no such model yet.

    Raises:
        ApoError: the registry does not answer.
    """
    with registry_errors():
        tag = model_tags(client, model).get(_HEAD)
    if tag is None:
        return None
    sequence, _, digest = tag.partition(":")
    if not sequence.isdigit():
        raise ApoError(f"{model}: its tag {_HEAD} is {tag!r}, which apo-flow has not written")
    return Head(int(sequence), digest)


def is_proposed(state: State, version: str, tags: dict[str, str]) -> bool:
    """Whether a version holds the policy that it was proposed with: numbers may be given again."""
    candidate = state.candidates.get(version)
    return candidate is None or candidate.evidence.get(POLICY_TAG) in (None, tags.get(POLICY_TAG))


def _set_aliases(client: MlflowClient, model: str, state: State) -> list[str]:
    aliases, versions = model_aliases(client, model), versions_of(client, model)
    done = []
    for alias, wanted in ((CHAMPION, state.champion), (CANDIDATE, state.candidate)):
        found = None if wanted is None else versions.get(wanted)
        known = found is not None and is_proposed(state, str(wanted), found.tags)
        version = wanted if known else None
        if aliases.get(alias) == version:
            continue
        if version is None:
            client.delete_registered_model_alias(model, alias)
        else:
            client.set_registered_model_alias(model, alias, version)
        gone = "" if known or wanted is None else f": version {wanted} is gone, or another by now"
        done.append(f"{model}: {alias} is {'no version' if version is None else f'version {version}'}{gone}")
    return done


def _describe(client: MlflowClient, model: str, entries: list[Entry]) -> None:
    versions = versions_of(client, model)
    for entry in entries:
        if entry.version in versions:
            status = f"{entry.event} by {entry.by}: {entry.reason}"
            client.set_model_version_tag(model, entry.version, _STATUS, status)
