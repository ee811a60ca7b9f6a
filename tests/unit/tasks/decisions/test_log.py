"""The transaction on the decision log: how often it reads, and what it does if another writer is faster."""

import errno
import os
from functools import partial

import pytest

from apo_core.config import Promotion
from apo_core.decisions.approval_rule import DecisionRefused, Draft
from apo_core.decisions.audit_chain import AuditBroken, head_of
from apo_core.errors import ApoError, StageFailed
from flows.cli import decisions as commands
from tasks.decisions import decide
from tasks.decisions.log import DecisionLog, append, open_log, read_log
from tasks.decisions.log_in_directory import DirectoryStore
from tasks.tracking.registry import find
from tasks.workspace import Workspace

RULES = Promotion(
    min_prompts=1, min_gain=0.0, max_kl=1.0, approval="manual", four_eyes=False, approval_hours=72.0
)


class CountingStore:
    """A store that counts the requests it passes on to a real one."""

    def __init__(self, store):
        self.store, self.listings, self.read_names = store, 0, []

    def names(self, model):
        self.listings += 1
        return self.store.names(model)

    def read(self, model, name):
        self.read_names.append(name)
        return self.store.read(model, name)

    def create(self, model, name, text):
        return self.store.create(model, name, text)


class RacedStore(CountingStore):
    """A store in which a rival process writes just before each write, until no rival is left."""

    def __init__(self, store, *rivals):
        super().__init__(store)
        self.rivals = list(rivals)

    def create(self, model, name, text):
        if self.rivals:
            self.rivals.pop(0)()
        return super().create(model, name, text)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    """A workspace on a shared registry, in which every test has a model of its own."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("MLFLOW_TRACKING_URI", "APO_AUDIT_URI"):
            patch.delenv(name, raising=False)
        yield Workspace(tmp_path_factory.mktemp("log"))


@pytest.fixture
def log(workspace, request):
    opened = open_log(workspace, request.node.name)
    opened.client.create_registered_model(opened.model)
    return opened


def register(log):
    model_version = log.client.create_model_version(log.model, "file:///nowhere")
    return find(log.client, log.model, str(model_version.version))


def propose(log, registered):
    decide.propose(log, registered, RULES, started_by="Ada", evidence={})
    return registered.version


def say(log, version, word, by="Bob"):
    return decide.decide(log, version, word, by=by, reason="as it should be")


def aliases(log):
    return {
        name: str(version) for name, version in log.client.get_registered_model(log.model).aliases.items()
    }


def files(count):
    return [f"{sequence:08}.json" for sequence in range(1, count + 1)]


def test_an_approval_from_the_command_to_the_alias_reads_the_log_twice(log, workspace, monkeypatch):
    """A second read only lists the log: every entry is fetched once."""
    say(log, propose(log, register(log)), "approve")
    version, counting = propose(log, register(log)), CountingStore(log.store)
    monkeypatch.setattr("tasks.decisions.log.open_store", lambda _: counting)
    commands.approve(log.model, version, by="Bob", reason="it is good", workspace=workspace.root)
    assert aliases(log) == {"candidate": version, "champion": version}
    assert (counting.listings, counting.read_names) == (2, files(3))


def test_with_accounts_every_entry_has_one_and_only_a_command_shows_the_persons_own(
    log, workspace, monkeypatch
):
    as_account = partial(monkeypatch.setattr, "tasks.decisions.log.current_account")
    as_account(lambda _: "ada")
    four_eyes = RULES.model_copy(update={"four_eyes": True})
    version = register(log).version
    decide.propose(log, find(log.client, log.model, version), four_eyes, started_by="Ada", evidence={})
    approve = partial(
        commands.approve, log.model, version, by="Bob", reason="it is good", workspace=workspace.root
    )
    with pytest.raises(DecisionRefused, match=r"account ada .* has the same"):
        approve()
    as_account(lambda _: "service")
    with pytest.raises(DecisionRefused, match="has none, as from a form or tags"):
        say(log, version, "approve")
    as_account(lambda _: "bob")
    approve()
    assert [(entry.event, entry.evidence["account"]) for entry in log.read()] == [
        ("candidate", "ada"),
        ("approved", "bob"),
    ]


def test_every_decision_reads_the_log_twice(log):
    say(log, propose(log, register(log)), "approve")
    registered = register(log)
    for act, entries in (
        (lambda counted: propose(counted, registered), 2),
        (lambda counted: say(counted, registered.version, "approve"), 3),
        (lambda counted: decide.roll_back(counted, None, by="Bob", reason="it is bad"), 4),
        (decide.reconcile, 5),
    ):
        counting = CountingStore(log.store)
        act(DecisionLog(log.client, counting, log.model))
        assert (counting.listings, counting.read_names) == (2, files(entries))
    assert aliases(log) == {"champion": "1"}


def test_the_slower_of_two_is_refused_by_what_the_faster_has_written(log):
    version = propose(log, register(log))
    raced = RacedStore(log.store, lambda: say(log, version, "reject"))
    with pytest.raises(DecisionRefused, match=f"version {version} does not wait .* rejected by Bob"):
        say(DecisionLog(log.client, raced, log.model), version, "approve", by="Cy")
    assert (raced.listings, raced.read_names) == (2, files(2))
    assert aliases(log) == {}


def test_what_another_writes_before_the_aliases_are_set_has_its_aliases_too(log):
    first, second = propose(log, register(log)), register(log)

    class WrittenAfter(CountingStore):
        def create(self, model, name, text):
            created = super().create(model, name, text)
            propose(log, second)
            return created

    assert say(DecisionLog(log.client, WrittenAfter(log.store), log.model), first, "approve").version == first
    assert aliases(log) == {"candidate": second.version, "champion": first}
    assert log.sync() == []


def test_a_decision_whose_aliases_cannot_be_set_says_that_it_holds(log, monkeypatch):
    version = propose(log, register(log))

    def refuse(*_):
        raise ApoError("MLflow: the server is away")

    with monkeypatch.context() as patch:
        patch.setattr("tasks.decisions.log.sync_aliases", refuse)
        with pytest.raises(
            ApoError, match=r"entry 2 .* says approved, and holds; .* is away; `apo reconcile"
        ):
            say(log, version, "approve")
    assert decide.reconcile(log) == [f"{log.model}: champion is version {version}"]


def test_an_error_that_a_retry_may_help_stays_one(log, monkeypatch):
    version = propose(log, register(log))

    def fail(*_):
        raise StageFailed("s3://bucket: no answer")

    monkeypatch.setattr("tasks.decisions.log.sync_aliases", fail)
    with pytest.raises(StageFailed, match=r"^s3://bucket: no answer$"):
        say(log, version, "approve")


def test_whoever_may_not_change_the_registry_appends_nothing(log, monkeypatch):
    version = propose(log, register(log))

    def refuse(*_):
        raise ApoError("MLflow: Permission denied")

    monkeypatch.setattr("tasks.decisions.log.mark_as_asked", refuse)
    with pytest.raises(ApoError, match=r"^MLflow: Permission denied$"):
        say(log, version, "approve")
    assert len(log.read()) == 1


def a_candidate(by):
    return lambda state: Draft(
        event="candidate", version=str(len(state.last) + 1), by=by, reason="better", evidence={}
    )


def test_entries_are_read_back_in_order_and_known_ones_are_not_read_again(tmp_path):
    counting = CountingStore(DirectoryStore(tmp_path))
    written = [append(counting, "my model", a_candidate(by)) for by in ("Ada", "Bob", "Cy")]
    counting.read_names.clear()
    assert read_log(counting, "my model", head_of(written[:2]), known=written[:2]) == written
    assert counting.read_names == ["00000003.json"]
    assert read_log(counting, "my") == []


def test_a_log_that_is_not_here_or_of_another_model_is_refused(tmp_path):
    store = DirectoryStore(tmp_path)
    entry = append(store, "m", a_candidate("Ada"))
    with pytest.raises(AuditBroken, match="the registry remembers 1 decisions and there are none here"):
        read_log(store, "n", head_of([entry]))
    (tmp_path / "n").mkdir()
    (tmp_path / "n/00000001.json").write_text((tmp_path / "m/00000001.json").read_text())
    with pytest.raises(AuditBroken, match=r"n: 00000001\.json holds entry 1 of m"):
        read_log(store, "n")


def test_a_flipped_bit_anywhere_in_an_entry_is_named(tmp_path):
    store = DirectoryStore(tmp_path)
    append(store, "m", a_candidate("Ada"))
    file = tmp_path / "m/00000001.json"
    content = file.read_bytes()
    file.chmod(0o644)
    for at in range(len(content)):
        file.write_bytes(content[:at] + bytes([content[at] ^ 0x80]) + content[at + 1 :])
        with pytest.raises(AuditBroken):
            read_log(store, "m")


def no_links(*_):
    raise PermissionError(errno.EPERM, "no links here")


@pytest.mark.parametrize("links", [True, False])
def test_an_entry_is_created_whole_and_once_with_links_or_without(tmp_path, monkeypatch, links):
    if not links:
        monkeypatch.setattr(os, "link", no_links)
    store = DirectoryStore(tmp_path)
    assert store.create("m", "00000001.json", "one")
    assert not store.create("m", "00000001.json", "another")
    monkeypatch.undo()
    assert not store.create("m", "00000001.json", "a third")
    assert store.names("m") == ["00000001.json"]
    assert store.read("m", "00000001.json") == "one"
    assert [file.name for file in (tmp_path / "m").iterdir()] == ["00000001.json"]


def test_where_there_are_no_links_an_entry_by_a_link_is_not_replaced(tmp_path, monkeypatch):
    store = DirectoryStore(tmp_path)
    store.create("m", "00000001.json", "one")
    monkeypatch.setattr(os, "link", no_links)
    assert not store.create("m", "00000001.json", "another")
    assert store.read("m", "00000001.json") == "one"
