import sys

import pytest

from apo_core.errors import ApoError
from apo_core.verifiers import make_verifier


@pytest.fixture
def directory(tmp_path):
    (tmp_path / "pack/age").mkdir(parents=True)
    (tmp_path / "mine.py").write_text("from helper import score\n")
    (tmp_path / "helper.py").write_text("def score(*_): return 1\n")
    (tmp_path / "pack/__init__.py").write_text("raise RuntimeError('run')\n")
    (tmp_path / "pack/deep.py").write_text("")
    return tmp_path


def version(directory, name="mine:score"):
    return make_verifier(name, ("whole",), directory).version


def test_the_version_changes_with_the_source_and_with_what_it_imports_beside_it(directory):
    first = version(directory)
    assert version(directory) == first
    (directory / "notes.txt").write_text("no source")
    assert version(directory) == first
    (directory / "helper.py").write_text("def score(*_): return 0\n")
    second = version(directory)
    (directory / "mine.py").write_text("from helper import score # as it is\n")
    assert len({first, second, version(directory)}) == 3


def test_the_version_of_an_installed_function_is_its_modules(directory, monkeypatch, tmp_path_factory):
    installed = tmp_path_factory.mktemp("installed")
    monkeypatch.setattr(sys, "path", [*sys.path, str(installed)])
    (installed / "theirs.py").write_text("score = None\n")
    first = version(directory, "theirs:score")
    (directory / "helper.py").write_text("")
    assert version(directory, "theirs:score") == first
    (installed / "theirs.py").write_text("score = 1\n")
    assert version(directory, "theirs:score") != first


def test_looking_for_a_module_runs_nothing_of_it(directory):
    assert version(directory, "pack.deep:score")
    assert "pack" not in sys.modules


@pytest.mark.parametrize("module", ["nothing", "pack.nothing", "mine.nothing", "pack.age"])
def test_a_module_that_is_not_there_is_named(directory, module):
    with pytest.raises(ApoError, match=f"verifier.name: {module}:score: there is no module {module} in "):
        make_verifier(f"{module}:score", ("whole",), directory)
