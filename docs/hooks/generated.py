"""What the pages of the site take from elsewhere, in the place of markers, when the site is built."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import command_line
import configuration
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
PICTURES = ("comparison.png", "stability.png", "values.png", "135m.png")  # of benchmarks/results


def on_files(files: Files, config: Any) -> Files:
    """Add the benchmarks' pictures, which stay beside their figures."""
    for name in PICTURES:
        path = ROOT / "benchmarks/results" / name
        files.append(File.generated(config, f"pictures/{name}", abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace every marker by what it names."""
    marker = r"^<!-- generated: (\w+) -->$"
    return lengths(re.sub(marker, lambda match: GENERATORS[match[1]](), markdown, flags=re.M))


def readme() -> str:
    """Return the README as a page of the site: its links lead to pages instead of files."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    text = text.replace("benchmarks/results/", "pictures/").replace("docs/pictures/", "pictures/")
    return re.sub(r"\((?:docs/)([\w/.-]+)(#[\w.-]+)?\)", r"(\1\2)", text)


def changelog() -> str:
    """Return the changelog without its title, which the page has."""
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8").partition("\n")[2]
    return re.sub(r"\((?:docs/)([\w/.-]+)(#[\w.-]+)?\)", r"(\1\2)", text)


def lengths(markdown: str) -> str:
    """Add up the lines of the files in every numbered list of a page, below its last entry."""

    def total(numbered: re.Match[str]) -> str:
        files = re.findall(r"^\d+\. `([\w/.]+\.py)`: ", numbered[0], re.M)
        lines = sum(len((ROOT / name).read_text(encoding="utf-8").splitlines()) for name in files)
        return f"{numbered[0]}\nTogether {lines:,} lines in {len(files)} files.\n" if files else numbered[0]

    return re.sub(r"(?:^\d+\. `.*\n)+", total, markdown, flags=re.M)


GENERATORS = {
    "readme": readme,
    "changelog": changelog,
    "configuration": configuration.reference,
    "presets": configuration.presets,
    "commands": command_line.reference,
}
