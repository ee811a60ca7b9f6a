"""What the unit tests share: a tiny random decoder, its tokenizer, and the two as a directory on disk."""

import shutil
from pathlib import Path

import pytest
from builders import ROOT
from hypothesis import settings

# torch and transformers are imported where they are used: the process that hands out tests needs neither.

# The same examples in every run: a red test must mean a change, not luck.
settings.register_profile("unit", derandomize=True, deadline=None, max_examples=25)
settings.load_profile("unit")


def _decoder(tokenizer):
    import torch

    from apo_core.embedded.tiny_decoder import tiny_decoder

    model = tiny_decoder(tokenizer, hidden_size=16, layers=2, heads=2, seed=0)
    with torch.no_grad():
        # As initialised, the logits hardly depend on the context: a wrong mask would not show.
        for parameter in model.parameters():
            if parameter.dim() == 2:
                parameter.mul_(15)
    return model.eval()


@pytest.fixture(scope="session")
def tokenizer():
    from apo_core.embedded.tiny_decoder import character_tokenizer

    return character_tokenizer()


@pytest.fixture(scope="session")
def decoder(tokenizer):
    """The tiny decoder that all tests share: none may change its weights."""
    return _decoder(tokenizer)


@pytest.fixture(scope="session")
def saved_decoder(tmp_path_factory, tokenizer):
    """A model directory that no test may change."""
    from apo_core.model.loading import save_policy

    directory = tmp_path_factory.mktemp("saved") / "model"
    save_policy(_decoder(tokenizer), tokenizer, directory, max_new_tokens=9)
    return directory


@pytest.fixture
def model_directory(tmp_path, saved_decoder):
    """A copy of the model directory, which a test may damage."""
    return Path(shutil.copytree(saved_decoder, tmp_path / "model"))


@pytest.fixture(scope="session")
def root():
    """The project's root."""
    return ROOT
