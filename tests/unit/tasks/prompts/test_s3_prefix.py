"""Which objects below a prefix are taken."""

import pytest

from apo_core.errors import StageRefused
from tasks.prompts.s3_prefix import prompts_below
from tasks.storage.s3_client import Listed


def below(*keys):
    return prompts_below("s3://b/p/", [Listed(key, 1, "e") for key in keys], "p/")


def test_prompts_are_taken_and_other_objects_left():
    keys = ("p/", "p/a.jsonl", "p/deep/b.csv", "p/LICENSE", "p/deep/", "p/x/data-0.arrow", "p/x/state.json")
    assert list(below(*keys)) == ["a.jsonl", "deep/b.csv", "x/data-0.arrow", "x/state.json"]
    assert below("p/p/a.json")["p/a.json"].key == "p/p/a.json"


@pytest.mark.parametrize("key", ["p/../a.jsonl", "p//a.jsonl", "p/./a.jsonl", "p/a\0.jsonl"])
def test_a_key_that_is_no_path_is_refused(key):
    with pytest.raises(StageRefused, match=r"^s3://b/p/: 'p/.*' cannot be the name of a file$"):
        below("p/b.jsonl", key)


def test_a_file_cannot_be_a_directory_too():
    with pytest.raises(StageRefused, match=r"'a.jsonl' is an object and a directory of 'a.jsonl/b.jsonl'$"):
        below("p/a.jsonl", "p/a.jsonl/b.jsonl")


def test_without_prompts_there_is_nothing_to_mirror():
    with pytest.raises(
        StageRefused, match=r"^s3://b/p/: there is no .jsonl, .ndjson, .json, .csv or .parquet object"
    ):
        below("p/LICENSE")
