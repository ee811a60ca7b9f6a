"""The content of a manifest, and files that are refused as one."""

import json

import pytest

from apo_core.errors import InputError
from tasks.storage.checksums import Checksums
from tasks.storage.manifest import make_manifest, parse_manifest

ONE, TWO = Checksums(3, "a" * 64, "?"), Checksums(5, "b" * 64, "?")


@pytest.fixture
def manifest():
    return make_manifest("m", "7", {"z": "1", "a": "2"}, {"deep/w": TWO, "c": ONE})


def test_the_same_model_gives_the_same_text_whatever_the_order(manifest):
    assert manifest.text() == make_manifest("m", "7", {"a": "2", "z": "1"}, {"c": ONE, "deep/w": TWO}).text()
    assert parse_manifest("x", manifest.text()) == manifest
    assert json.loads(manifest.text()) == {
        "model": "m",
        "version": "7",
        "tags": {"a": "2", "z": "1"},
        "bytes": 8,
        "files": [
            {"path": "c", "bytes": 3, "sha256": "a" * 64},
            {"path": "deep/w", "bytes": 5, "sha256": "b" * 64},
        ],
    }


def test_only_the_files_make_it_another_model(manifest):
    assert manifest.difference(make_manifest("m", "7", {}, {"c": ONE, "deep/w": TWO})) is None
    assert manifest.difference(make_manifest("m", "7", {}, {"c": ONE, "deep/w": ONE})) == "deep/w"
    assert manifest.difference(make_manifest("m", "7", {}, {"c": ONE})) == "deep/w"
    assert make_manifest("m", "7", {}, {"c": ONE}).difference(manifest) == "deep/w"


@pytest.mark.parametrize("path", ["../a", "/a", "a//b", "a/./b", "", ".", "a\0b", "manifest.json"])
def test_no_file_lies_outside_the_directory(manifest, path):
    text = manifest.text().replace("deep/w", json.dumps(path)[1:-1])
    with pytest.raises(
        InputError, match=r"^s3://b/m: files\.1\.path: is no manifest: .* is no file of a model"
    ):
        parse_manifest("s3://b/m", text)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"bytes": 3', '"bytes": -3', r"^x: files\.0\.bytes: is no manifest"),
        ('"bytes": 3', '"bytes": "3"', r"^x: files\.0\.bytes: is no manifest"),
        ("a" * 64, "A" * 64, r"^x: files\.0\.sha256: is no manifest"),
        ('"model"', '"other"', r"^x: model: is no manifest: Field required"),
        ("{", "", "^x: is no manifest: Invalid JSON"),
    ],
)
def test_what_is_no_manifest_is_refused_by_field(manifest, old, new, said):
    with pytest.raises(InputError, match=said):
        parse_manifest("x", manifest.text().replace(old, new, 1))


def test_an_empty_model_is_none():
    with pytest.raises(InputError, match=r"^x: files: is no manifest"):
        parse_manifest("x", '{"model": "m", "version": "7", "tags": {}, "bytes": 0, "files": []}')
