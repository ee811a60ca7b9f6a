import json

import pytest

from apo_core.errors import FingerprintMismatch
from apo_core.values.fingerprint import check_fingerprint, digest, fingerprint

FIELDS = {"reference", "tokenizer", "sampler", "verifier", "prompts"}


@pytest.fixture
def conditions(model_directory):
    return {
        "reference": model_directory,
        "template": {"style": "raw", "text": "{prompt}", "system": None},
        "generation": {"max_new_tokens": 8, "temperature": 1.0, "top_p": 1.0, "top_k": 0},
        "verifier": "numeric",
        "verifier_version": "1",
        "prompts": [("a", "1", "{}"), ("b", "2", "{}")],
    }


def differing(fingerprint, other):
    return {name for name in fingerprint.keys() | other.keys() if fingerprint.get(name) != other.get(name)}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"template": {"style": "raw", "text": "Q: {prompt}", "system": None}}, "tokenizer"),
        ({"generation": {"max_new_tokens": 9, "temperature": 1.0, "top_p": 1.0, "top_k": 0}}, "sampler"),
        ({"generation": {"max_new_tokens": 8, "temperature": 0.7, "top_p": 1.0, "top_k": 0}}, "sampler"),
        ({"verifier": "gsm8k"}, "verifier"),
        ({"verifier_version": "2"}, "verifier"),
        ({"prompts": [("a", "1", "{}")]}, "prompts"),
        ({"prompts": [("a", "1", "{}"), ("b", "3", "{}")]}, "prompts"),
        ({"prompts": [("a", "1", "{}"), ("c", "2", "{}")]}, "prompts"),
        ({"prompts": [("a", "1", "{}"), ("b", "2", '{"level": 1}')]}, "prompts"),
    ],
)
def test_a_changed_setting_changes_its_own_field_only(conditions, change, field):
    before = fingerprint(**conditions)
    assert set(before) == FIELDS
    assert differing(before, fingerprint(**(conditions | change))) == {field}


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("model.safetensors", "reference"),
        ("config.json", "reference"),
        ("tokenizer.json", "tokenizer"),
        ("tokenizer_config.json", "tokenizer"),
    ],
)
def test_a_changed_byte_of_the_model_changes_its_own_field_only(conditions, model_directory, name, field):
    before = fingerprint(**conditions)
    content = bytearray((model_directory / name).read_bytes())
    content[-2] ^= 1
    (model_directory / name).write_bytes(content)
    assert differing(before, fingerprint(**conditions)) == {field}


@pytest.mark.parametrize(
    ("name", "field"), [("model-00002.safetensors", "reference"), ("chat_template.jinja", "tokenizer")]
)
def test_a_new_file_of_the_model_changes_its_own_field_only(conditions, model_directory, name, field):
    before = fingerprint(**conditions)
    (model_directory / name).write_text("new")
    assert differing(before, fingerprint(**conditions)) == {field}


def test_the_order_of_prompts_and_the_place_of_the_model_do_not_matter(conditions, model_directory):
    before = fingerprint(**conditions)
    moved = model_directory.rename(model_directory.with_name("moved"))
    changed = conditions | {"reference": moved, "prompts": conditions["prompts"][::-1]}
    assert fingerprint(**changed) == before


def test_a_fingerprint_survives_the_metadata_of_a_table(conditions):
    before = fingerprint(**conditions)
    check_fingerprint("values.parquet", json.loads(json.dumps(before)), before)


def test_the_same_conditions_are_accepted():
    check_fingerprint(
        "values.parquet", {"sampler": "a", "prompts": "b", "new": "c"}, {"sampler": "a", "prompts": "b"}
    )


def test_every_field_that_differs_is_named_and_no_other():
    stored = {"reference": "a" * 64, "sampler": "same", "verifier": "math@1"}
    expected = {"reference": "b" * 64, "sampler": "same", "verifier": "math@2", "prompts": "c" * 64}
    with pytest.raises(FingerprintMismatch) as refused:
        check_fingerprint("data/values.parquet", stored, expected)
    assert str(refused.value) == (
        "data/values.parquet: the table was made under other conditions: "
        f"reference was {'a' * 16} and is {'b' * 16}, verifier was math@1 and is math@2, "
        f"prompts was absent and is {'c' * 16}; make it anew (`apo stage sample --force`, then `apo run`)"
    )


def test_a_newer_verifier_library_can_be_read_from_the_refusal():
    with pytest.raises(FingerprintMismatch, match=r"0\.9\.0.*0\.9\.1"):
        check_fingerprint(
            "values.parquet",
            {"verifier": "math@1+math-verify-0.9.0"},
            {"verifier": "math@1+math-verify-0.9.1"},
        )


def test_a_digest_depends_on_the_value_and_not_on_the_order_of_its_keys():
    assert digest({"a": 1, "b": [2]}) == digest({"b": [2], "a": 1})
    values = [{"a": 1}, {"a": 1.5}, {"a": "1"}, {"a": None}, {"b": 1}, [["a", 1]], "é", "e"]
    assert len({digest(value) for value in values}) == len(values)
