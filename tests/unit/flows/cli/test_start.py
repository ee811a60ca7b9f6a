"""Which entries of PYTHONPATH the command leaves out."""

from pathlib import Path

import pytest

from flows.cli.start import without_relative

HERE = str(Path.cwd())


@pytest.mark.parametrize(
    ("variable", "kept"),
    [
        ("", ["/bin", HERE + "/x", "/lib"]),
        ("/opt", ["/bin", HERE + "/x", "/lib"]),
        ("x:/opt", ["/bin", "/lib"]),
        (f"x:{HERE}/x", ["/bin", HERE + "/x", "/lib"]),
    ],
)
def test_relative_entries_are_left_out(variable, kept):
    assert without_relative(["/bin", HERE + "/x", "/lib", ""], variable) == kept


def test_a_colon_too_many_is_the_working_directory(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert without_relative([str(tmp_path), "/lib"], "/opt:") == ["/lib"]
    assert without_relative([str(tmp_path), "/lib"], "") == [str(tmp_path), "/lib"]
