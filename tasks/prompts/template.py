"""The template that makes token ids of prompts, as the configuration describes it."""

from __future__ import annotations

from pathlib import Path

from apo_core import config
from apo_core.model.template import Template, load_template


def encoder_of(reference: Path, template: config.Template, trust_remote_code: bool) -> Template:
    """The template over the reference's tokenizer."""
    return load_template(
        reference,
        style=template.style,
        text=template.text,
        system=template.system,
        trust_remote_code=trust_remote_code,
    )
