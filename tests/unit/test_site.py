"""The README and the pages: length, links, paths and settings; and the site that is built from them."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from pages import COMMANDS, PAGES, ROOT, blocks
from ruamel.yaml import YAML

from apo_core.config import DEFAULTS
from apo_core.config.file import set_params
from apo_core.config.overlay import load_overlay
from apo_core.config.params import Params
from apo_core.config.sampling import Adaptive
from apo_core.config.training import Lora

README = (ROOT / "README.md").read_text()
FILES = ("README.md", "CONTRIBUTING.md")  # shown where the code is; the site checks its own pages' links
FOLDERS = r"apo_core|tasks|flows|tests|docker|presets|benchmarks|requirements|docs"


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The built site; a warning, such as a link that leads nowhere, is an error."""
    directory = tmp_path_factory.mktemp("site")
    command = [
        sys.executable,
        "-m",
        "mkdocs",
        "build",
        "--site-dir",
        str(directory),
    ]  # --quiet hides warnings
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return directory


def text_of(site: Path, page: str) -> str:
    return (site / page / "index.html").read_text()


def test_the_readme_is_short():
    assert len(README.splitlines()) <= 120


@pytest.mark.parametrize("name", FILES)
def test_links_lead_to_files_and_headings(name):
    links = re.findall(r"(?:\]\(|src=\")([^)\"\s]+)", (ROOT / name).read_text())
    assert links
    for link in links:
        if link.startswith("https://"):
            continue
        path, _, anchor = link.partition("#")
        assert (ROOT / path).is_file(), link
        if anchor:
            assert re.search(rf"\{{ #{anchor} \}}", (ROOT / path).read_text()), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_paths_of_the_code_are_there(page):
    paths = re.findall(rf"`((?:{FOLDERS})/[\w./-]*)`", page.read_text())
    made_by_people = {"docker/.env", "tasks/stages/NAME.py"}
    assert not [path for path in paths if not (ROOT / path).exists() and path not in made_by_people]


@pytest.mark.slow
def test_the_site_loads_nothing_from_elsewhere(site):
    for page in site.rglob("*.html"):
        text = page.read_text()
        assert not re.search(r"<(?:script|img|iframe)[^>]+src=\"?(?:https?:)?//", text), page
        assert not re.search(r"<link[^>]+href=\"?(?:https?:)?//", text), page


def test_every_key_is_on_the_page_of_the_configuration(site):
    page = text_of(site, "configuration")
    tree = YAML(typ="safe").load((ROOT / "presets/embedded.yaml").read_text())
    keys = {*Params.model_fields, *paths(tree)}
    keys |= {f"sampling.adaptive.{name}" for name in Adaptive.model_fields}
    keys |= {f"train.lora.{name}" for name in Lora.model_fields}
    missing = [key for key in keys if f'id="{key}"' not in page and key != "algorithm.name"]
    assert not [key for key in missing if not key.startswith("algorithm.")]
    for name, section in DEFAULTS.items():
        assert f'id="algorithm-{name}"' in page
        for key in section:
            assert key == "name" or f'id="algorithm-{name}.{key}"' in page


def paths(tree, prefix=""):
    """Every key of nested mappings, with dots."""
    for name, value in tree.items():
        yield prefix + name
        if isinstance(value, dict):
            yield from paths(value, f"{prefix}{name}.")


def test_the_stages_that_a_key_reruns_are_on_the_page(site):
    page = text_of(site, "configuration")
    values = page[page.index('id="values"') :]
    assert "A change reruns <code>values</code>, and what" in values[:1500]


def test_every_command_is_on_the_page_of_the_command_line(site):
    page = text_of(site, "commands")
    for name in ("init", "run", "stage", "approve", "audit", "publish", "services start"):
        assert f">apo {name}<" in page


SETTING = [command for command in COMMANDS if "--set" in command and "-w " not in command]


@pytest.mark.parametrize("command", SETTING)
def test_settings_in_commands_can_be_given(command, tmp_path):
    params = tmp_path / "params.yaml"
    params.write_text((ROOT / "presets/embedded.yaml").read_text())
    words = shlex.split(command)
    assignments = [words[index + 1] for index, word in enumerate(words) if word == "--set"]
    set_params(params, assignments, write=False)


@pytest.mark.parametrize("block", blocks("yaml"), ids=lambda block: block.page)
def test_a_configuration_in_a_page_is_one(block, tmp_path):
    yaml = YAML(typ="safe")
    changes = {"reference": {"source": "directory"}}
    if "source: files" in block.text:
        changes["data"] = {"train_prompts": None, "eval_prompts": None}
    for section, values in yaml.load(block.text).items():
        changes[section] = values if isinstance(values, list) else changes.get(section, {}) | values
    file = tmp_path / "page.yaml"
    with file.open("w") as stream:
        yaml.dump(changes, stream)
    load_overlay(ROOT / "presets/embedded.yaml", file)


@pytest.mark.parametrize(
    ("heading", "most_files", "most_lines"), [("One training step", 16, 1400), ("One approval", 6, 1200)]
)
def test_what_one_reads_to_follow_a_subject_stays_short(heading, most_files, most_lines):
    section = (
        (ROOT / "docs/architecture.md").read_text().partition(f"## {heading}\n")[2].partition("\n## ")[0]
    )
    files = re.findall(r"^\d+\. `([\w/.]+)`", section, re.M)
    assert 0 < len(files) <= most_files
    assert sum(len((ROOT / name).read_text().splitlines()) for name in files) <= most_lines
