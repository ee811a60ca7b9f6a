"""The template that makes token ids of prompts, as the configuration describes it."""

from __future__ import annotations

from apo_core import config
from apo_core.model.directory import ModelRef
from apo_core.model.template import Template, load_template


def encoder_of(source: ModelRef, template: config.Template) -> Template:
    """The template over a model directory's tokenizer."""
    return load_template(source, style=template.style, text=template.text, system=template.system)
