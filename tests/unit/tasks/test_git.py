"""The commit of a workspace: never that of another repository."""

import subprocess

import pytest

from tasks.git import author_of, commit_of, is_under_git


def git(directory, *arguments):
    own = ["git", "-c", "user.name=Ada", "-c", "user.email=a@b", *arguments]
    return subprocess.run(own, cwd=directory, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def repository(tmp_path):
    git(tmp_path, "init", "--quiet")
    (tmp_path / "file").write_text("1")
    git(tmp_path, "add", "file")
    git(tmp_path, "commit", "--quiet", "-m", "one")
    return tmp_path


def test_a_commit_and_its_changes(repository):
    head = git(repository, "rev-parse", "HEAD")
    assert commit_of(repository) == head
    (repository / "file").write_text("2")
    assert commit_of(repository) == f"{head}+changes"
    assert author_of(repository) == "Ada"


def test_a_repository_of_another_account_has_no_commit_of_ours(repository, monkeypatch):
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    assert commit_of(repository).startswith("unknown: detected dubious ownership in repository")
    assert author_of(repository) is None
    assert not is_under_git(repository)


def test_a_broken_index_is_not_clean(repository):
    (repository / ".git/index").write_bytes(b"nothing")
    assert commit_of(repository).startswith("unknown: ")


def test_outside_a_repository_it_is_the_codes_own(tmp_path, root):
    assert commit_of(tmp_path) == commit_of(root / "tasks")


def test_without_git_there_is_none(repository, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert commit_of(repository) is None
    assert not is_under_git(repository)


@pytest.mark.parametrize("damage", ["refs/heads/main", "HEAD"])
@pytest.mark.parametrize("content", ["", "\0" * 41, "nonsense\n"])
def test_a_damaged_repository_has_no_commit_of_ours(repository, damage, content):
    git(repository, "branch", "-M", "main")
    (repository / ".git" / damage).write_text(content)
    assert commit_of(repository).startswith("unknown: ")


def test_a_repository_before_its_first_commit_is_the_codes_own(tmp_path, root):
    git(tmp_path, "init", "--quiet")
    assert commit_of(tmp_path) == commit_of(root / "tasks")


def test_a_git_that_cannot_be_run_is_no_traceback(repository, monkeypatch, tmp_path):
    program = tmp_path / "bin/git"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o644)
    monkeypatch.setenv("PATH", str(program.parent))
    assert commit_of(repository) == "unknown: git cannot be run: Permission denied"


def test_names_that_are_not_ascii(repository, monkeypatch):
    git(repository, "commit", "--quiet", "--allow-empty", "-m", "two", "--author", "Zoë <z@b>")
    assert author_of(repository) == "Zoë"
