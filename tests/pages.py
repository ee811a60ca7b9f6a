"""The README and the pages of the site, and the commands and examples in them."""

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


class Block(NamedTuple):
    """A fenced block of a page."""

    page: str
    text: str

    @property
    def commands(self) -> list[str]:
        """One per line: no page has a command of several lines."""
        return [line for line in self.text.splitlines() if line]


def blocks(language: str) -> list[Block]:
    """All blocks of a language, by page."""
    pattern = rf"^ *```{language}\n(.*?)^ *```"
    return [
        Block(page.relative_to(ROOT).as_posix(), text)
        for page in PAGES
        for text in re.findall(pattern, page.read_text(), re.M | re.S)
    ]


BASH = blocks("bash")
COMMANDS = list(dict.fromkeys(command for block in BASH for command in block.commands))
DECISIONS = [line for line in COMMANDS if re.match("apo (approve|reject|rollback|audit|lineage) ", line)]
REAL_MODEL = [line for line in COMMANDS if re.search(r"smollm2|-w gsm8k", line)]


def commands_of(page: str, first: str) -> list[str]:
    """The commands of the block of a page that begins with that one."""
    (block,) = [block for block in BASH if block.page == page and block.text.startswith(first)]
    return block.commands
