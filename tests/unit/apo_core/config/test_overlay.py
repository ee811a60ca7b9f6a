"""Presets: what an overlay may say, and what becomes of comments."""

import pytest
from builders import ROOT
from ruamel.yaml import YAML

from apo_core.config import DEFAULTS
from apo_core.config.overlay import description_of, load_overlay, resolve_overlay
from apo_core.errors import InputError
from flows.workspaces import presets

BASE = ROOT / "presets/embedded.yaml"


@pytest.fixture
def overlay(tmp_path):
    def write(text):
        file = tmp_path / "mine.yaml"
        file.write_text(f"# Mine.\n{text}", encoding="utf-8")
        return file

    return write


def flat(tree, prefix=""):
    for key, value in tree.items():
        if isinstance(value, dict) and value:
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def test_a_preset_holds_only_what_differs():
    yaml = YAML(typ="safe")
    whole = dict(flat(yaml.load(BASE.read_text())))
    for name, file in presets().items():
        if file != BASE:
            same = [key for key, value in flat(yaml.load(file.read_text())) if whole.get(key, ...) == value]
            assert not same, name


def test_a_preset_says_what_it_is_in_a_line():
    for file in presets().values():
        assert 10 < len(description_of(file)) < 120
        assert description_of(file).endswith(".")


def test_a_preset_without_a_description_is_refused(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("seed: 1\n")
    with pytest.raises(
        InputError, match=r"mine.yaml:1: its first line must say in a comment what the preset"
    ):
        description_of(file)


def test_values_and_comments_are_laid_over(overlay):
    file = overlay("train:\n  steps: 5\n  ranks: 2   # two\nverifier:\n  extract: [boxed, last]\n")
    base, resolved = (text.splitlines() for text in (BASE.read_text(), resolve_overlay(BASE, file)))
    assert resolved[0] == "# Mine."
    kept = next(line.partition("#")[2] for line in base if "extract:" in line)
    head = next(row for row, line in enumerate(base) if line.startswith("seed"))
    changed = [pair for pair in zip(base[head:], resolved[1:], strict=True) if pair[0] != pair[1]]
    assert [(before.split("#")[0].strip(), after.strip()) for before, after in changed] == [
        ("extract: [last]", f"extract: [boxed, last] #{kept}"),
        ("steps: 64", "steps: 5"),
        ("ranks: 1", "ranks: 2   # two"),
    ]


def test_a_comment_on_the_last_key_of_a_section_leaves_the_lines_after_it(overlay):
    resolved = resolve_overlay(BASE, overlay("arithmetic:\n  max_operand: 9 # one digit\n"))
    assert "  max_operand: 9 # one digit\n\nreference:\n" in resolved


def test_another_algorithm_brings_its_own_keys(overlay):
    keys = "".join(f"  {key}: {str(value).lower()}\n" for key, value in DEFAULTS["grpo"].items())
    file = overlay(f"algorithm:\n{keys}")
    assert load_overlay(BASE, file).algorithm.model_dump() == DEFAULTS["grpo"]
    assert "\n\ntrain:" in resolve_overlay(BASE, file)


def test_a_whole_file_is_its_own_configuration(tmp_path):
    file = tmp_path / "params.yaml"
    file.write_text(BASE.read_text().replace("seed: 0", "seed: 7"))
    assert load_overlay(BASE, file).seed == 7
    assert resolve_overlay(BASE, file) == file.read_text()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("train:\n  step: 5\n", "mine.yaml:3: train.step: unknown parameter; did you mean train.steps?"),
        ("train:\n  steps: 0\n", "mine.yaml:3: train.steps: must be greater than 0, found 0"),
        ("train: 5\n", "mine.yaml:2: train: "),
        ("values:\n  beta1: 0.5\nreference:\n  source: hub\n", "mine.yaml:4: reference: name is needed"),
        ("", "mine.yaml: must hold a mapping"),
    ],
)
def test_what_is_wrong_is_named_with_its_line_in_the_overlay(overlay, text, problem):
    with pytest.raises(InputError) as refused:
        load_overlay(BASE, overlay(text))
    assert problem in str(refused.value)
