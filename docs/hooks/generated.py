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
PICTURES = ("comparison.png", "stability.png", "135m.png")  # of benchmarks/results


def on_files(files: Files, config: Any) -> Files:
    """Add the benchmarks' pictures, which stay beside their figures."""
    for name in PICTURES:
        path = ROOT / "benchmarks/results" / name
        files.append(File.generated(config, f"pictures/{name}", abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace every marker by what it names."""
    marker = r"^<!-- generated: (\w+) -->$"
    return re.sub(marker, lambda match: GENERATORS[match[1]](), markdown, flags=re.M)


def readme() -> str:
    """Return the README as a page of the site: its links lead to pages instead of files."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    text = text.replace("benchmarks/results/", "pictures/").replace("docs/pictures/", "pictures/")
    return re.sub(r"\((?:docs/)([\w/.-]+)(#[\w.-]+)?\)", r"(\1\2)", text)


def changelog() -> str:
    """Return the changelog without its title, which the page has."""
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8").partition("\n")[2]
    return re.sub(r"\((?:docs/)([\w/.-]+)(#[\w.-]+)?\)", r"(\1\2)", text)


# One training step, in the order in which it is read.
STEP = {
    "apo_core/training/trainer.py": "the loop: resume, choose a batch, step, guard, checkpoint",
    "apo_core/training/context.py": "what a step works with; training set and rollout batch",
    "apo_core/training/step.py": "one step: sample, score, learn, metrics",
    "apo_core/training/in_place_sampler.py": "the module that trains samples",
    "apo_core/sampling/transformers_sampler.py": "responses in batches of like length",
    "apo_core/sampling/decoding.py": "one batch of responses, token by token",
    "apo_core/sampling/token_sampling.py": "a token from its distribution and a random number",
    "apo_core/verifiers/scorer.py": "rewards of many responses",
    "apo_core/training/update.py": "micro-batches, recorded log-probs, the optimizer's step",
    "apo_core/model/micro_batch.py": "padding, and what is known of each response",
    "apo_core/model/log_probs.py": "log-probs of responses",
    "apo_core/model/head.py": "the output embedding, a few tokens at a time",
    "apo_core/algorithms/base.py": "what an algorithm is given, and gives back",
    "apo_core/algorithms/apo.py": "targets and loss",
    "apo_core/training/gradients.py": "whether every gradient is finite",
}


# An approval, from the command to the alias.
APPROVAL = {
    "flows/cli/decisions.py": "the command, and the stores of its workspace",
    "tasks/decisions/decide.py": "which rule is applied to which version",
    "tasks/decisions/log.py": "the transaction: read, apply the rule, write the next entry, set the aliases",
    "apo_core/decisions/approval_rule.py": "the state machine, as pure functions",
    "apo_core/decisions/audit_chain.py": "an entry, and the hashes that chain it to the one before",
    "tasks/decisions/aliases.py": "the aliases and tags of the registry, set to what the log says",
}


def step() -> str:
    """Return the files of a training step with their lengths."""
    return _reading(STEP)


def approval() -> str:
    """Return the files of an approval with their lengths."""
    return _reading(APPROVAL)


def _reading(files: dict[str, str]) -> str:
    lengths = {name: len((ROOT / name).read_text(encoding="utf-8").splitlines()) for name in files}
    rows = [f"1. `{name}` ({lengths[name]} lines): {text}" for name, text in files.items()]
    return "\n".join([*rows, "", f"Together {sum(lengths.values()):,} lines in {len(files)} files."])


GENERATORS = {
    "step": step,
    "approval": approval,
    "readme": readme,
    "changelog": changelog,
    "configuration": configuration.reference,
    "presets": configuration.presets,
    "commands": command_line.reference,
}
