"""Load the template that turns a prompt's text into token ids, as `params.yaml` describes it."""

from __future__ import annotations

from apo_core import config
from apo_core.model.directory import ModelRef
from apo_core.model.template import Template, load_template


def load_prompt_template(source: ModelRef, template: config.Template) -> Template:
    """The configured template over the tokenizer of a model directory."""
    return load_template(source, style=template.style, text=template.text, system=template.system)
