"""Section `verifier`: one verifier, or a list of them."""

import json
import re

import pytest
from builders import ROOT

from apo_core.config import Verifier, When
from apo_core.config.file import load_params, set_params
from apo_core.config.overlay import load_overlay
from apo_core.errors import InputError

BASE = ROOT / "presets/embedded.yaml"


@pytest.fixture
def file(tmp_path):
    copy = tmp_path / "params.yaml"
    copy.write_text(BASE.read_text(encoding="utf-8"), encoding="utf-8")
    return copy


def setting(*verifiers):
    return [f"verifier={json.dumps(verifiers)}"]


def test_one_verifier_is_a_list_of_one():
    (verifier,) = load_params(BASE).verifier
    assert (verifier.name, verifier.when, verifier.weight, verifier.overlong) == ("numeric", None, 1.0, None)


def test_what_a_further_verifier_leaves_out_is_as_in_the_first_except_when(file):
    first, second = set_params(
        file,
        setting(
            {"name": "math", "extract": ["boxed"], "when": {"set": ["math"]}, "weight": 3.0},
            {"extract": ["boxed", "last"]},
        ),
    ).verifier
    assert first.when == When(set=("math",))
    assert (second.name, second.extract, second.when, second.weight) == ("math", ("boxed", "last"), None, 3.0)
    assert first.time_limit_seconds == second.time_limit_seconds == 5.0  # of the one that the file had


def test_a_list_may_take_the_place_of_a_list(file):
    set_params(file, setting({"weight": 3.0, "when": {"set": ["math"]}}, {}))
    (verifier,) = set_params(file, setting({"name": "exact", "extract": ["whole"]})).verifier
    assert (verifier.name, verifier.weight, verifier.when) == ("exact", 3.0, None)


def test_an_overlay_may_have_a_list(tmp_path):
    overlay = tmp_path / "mine.yaml"
    overlay.write_text(
        "# Mine.\nverifier:\n- when: {set: [arithmetic]}\n- name: exact\n  extract: [whole]\n"
        "  when: {group: [a, b]}\n",
        encoding="utf-8",
    )
    first, second = load_overlay(BASE, overlay).verifier
    assert (first.name, first.extract, second.name) == ("numeric", ("last",), "exact")
    assert second.when is not None and second.when.group == ("a", "b")


def test_a_prompt_fits_by_set_and_group():
    assert When().fits("a", None)
    assert When(set=("a", "b"), group=("g",)).fits("b", "g")
    assert not When(set=("a",)).fits("b", None)
    assert not When(group=("g",)).fits("a", None)


@pytest.mark.parametrize(
    ("verifiers", "problem"),
    [
        ([], "verifier: "),
        ([{"name": "nothing"}], "verifier.name: must be numeric"),
        ([{}, {"extract": ["whole"]}], "verifier: extract: whole is unknown to verifier numeric"),
        (
            [{"when": {"sets": ["a"]}}],
            "verifier.when.sets: unknown parameter; did you mean verifier.when.set",
        ),
        ([{"when": {"set": []}}], "verifier.when.set: "),
        ([{"weight": 0.0}], "verifier.weight: must be greater than 0"),
        ([{"overlong": {"buffer_tokens": 3, "penalty": 2.0}}], "verifier.overlong.penalty: "),
    ],
)
def test_what_does_not_fit_is_named(file, verifiers, problem):
    before = file.read_text()
    with pytest.raises(InputError) as refused:
        set_params(file, setting(*verifiers))
    assert problem in str(refused.value)
    assert file.read_text() == before


def test_one_key_of_a_list_is_not_set_from_the_command_line(file):
    set_params(file, setting({}, {"when": {"set": ["a"]}}))
    with pytest.raises(
        InputError, match=r"verifier.name: is a list of verifiers here: change it in the file"
    ):
        set_params(file, ["verifier.name=exact"])


def test_the_page_on_upgrading_has_the_lines_that_a_section_of_before_lacks(file):
    before = {"name", "extract", "time_limit_seconds", "memory_limit_mib", "workers", "max_error_share"}
    page = (ROOT / "docs/upgrading.md").read_text(encoding="utf-8")
    block = page.partition("new in section `verifier`")[2].split("\n\n")[1]
    lines = [line.removeprefix("    ") for line in block.splitlines()]
    assert {line.split(":")[0].strip() for line in lines} == set(Verifier.model_fields) - before
    new = re.compile(rf"  ({'|'.join(set(Verifier.model_fields) - before)}): ")
    kept = [line for line in file.read_text(encoding="utf-8").splitlines() if not new.match(line)]
    file.write_text("\n".join(kept), encoding="utf-8")
    with pytest.raises(InputError):
        load_params(file)
    start = kept.index("verifier:") + 1
    file.write_text("\n".join([*kept[:start], *lines, *kept[start:]]), encoding="utf-8")
    assert load_params(file) == load_params(BASE)


@pytest.mark.parametrize(("workers", "own_cores", "processes"), [(None, 1, 1), (None, 64, 8), (3, 64, 3)])
def test_a_verifier_has_the_processes_that_are_configured_or_one_per_core(workers, own_cores, processes):
    (verifier,) = load_params(BASE).verifier
    assert verifier.model_copy(update={"workers": workers}).processes(own_cores) == processes
