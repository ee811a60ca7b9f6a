import pytest

from apo_core.data.entries import hub_address, is_prefix, overlapping, parse_entry, s3_address, set_names


@pytest.mark.parametrize(
    ("text", "kind", "path"),
    [
        ("train.jsonl", "local", "train.jsonl"),
        ("deep/train", "local", "deep/train"),
        ("s3://data/a/b.jsonl", "s3", "remote/s3/data/a/b.jsonl"),
        ("s3://data/a/b/", "s3", "remote/s3/data/a/b"),
        ("hf:openai/gsm8k", "hub", "remote/hf/openai/gsm8k/default/main/data.parquet"),
        (
            "hf:openai/gsm8k/main@refs/pr/1:test",
            "hub",
            "remote/hf/openai/gsm8k/main/refs--pr--1/test.parquet",
        ),
        ("reasoning_gym:chain_sum", "generated", "chain_sum"),
    ],
)
def test_an_entry_says_where_its_rows_lie(text, kind, path):
    entry = parse_entry(text)
    assert (entry.kind, entry.path) == (kind, path)


@pytest.mark.parametrize(
    "text",
    [
        "../a.jsonl",
        "/a.jsonl",
        "",
        ".",
        "s3://bucket",
        "s3://bucket/",
        "s3://bucket/../../a.jsonl",
        "s3:/bucket/a.jsonl",
        "hf:gsm8k",
        "hf:a/b:two splits",
        "hf:a/../b",
        "reasoning_gym:",
        "reasoning_gym:a/b",
    ],
)
def test_what_leaves_the_directory_or_has_no_form_is_refused(text):
    with pytest.raises(ValueError, match=r"is no file below data/raw/prompts|is not of the form"):
        parse_entry(text)


def test_the_parts_of_addresses():
    assert hub_address("hf:a/b/c@d:e") == ("a/b", "c", "d", "e")
    assert hub_address("hf:a/b:e") == ("a/b", None, None, "e")
    assert s3_address("s3://b/c/d.csv") == ("b", "c/d.csv")
    assert s3_address("s3://b/c/d/") == ("b", "c/d/")


def test_a_slash_at_the_end_makes_a_prefix():
    assert [is_prefix(parse_entry(text)) for text in ("s3://b/c/", "s3://b/c", "c/")] == [True, False, False]


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        (["s3://b/c/", "s3://b/c/d.csv"], ("s3://b/c/d.csv", "s3://b/c/")),
        (["s3://b/c/d/", "s3://b/c/"], ("s3://b/c/d/", "s3://b/c/")),
        (["s3://b/c/", "s3://b/c"], ("s3://b/c/", "s3://b/c")),
        (["s3://b/c/", "s3://b/cc/", "s3://b2/c/", "c/d.csv"], None),
        (["s3://b/c.csv", "s3://b/c.csv"], None),  # for training and for evaluation: prepare sees it
    ],
)
def test_entries_that_hold_one_another_are_found(entries, expected):
    both = overlapping([parse_entry(text) for text in entries])
    assert (both and (both[0].text, both[1].text)) == expected


def test_a_set_is_named_for_its_file_and_two_of_one_name_for_their_paths():
    entries = ("gsm8k/test.jsonl", "math/test.csv", "aime.json", "hf:a/b/c:e", "reasoning_gym:chain_sum")
    assert list(set_names(entries).values()) == [
        "gsm8k/test.jsonl",
        "math/test.csv",
        "aime",
        "b-c-e",
        "chain_sum",
    ]
