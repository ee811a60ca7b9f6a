"""Which model a configuration trains, found without a hub."""

import pytest

from apo_core.config.file import load_params
from apo_core.errors import ApoError
from apo_core.memory_plan import peak_mib
from flows.memory import memory_plan
from tasks.workspace import Workspace

BILLIONS = {"1.5b": 1.543714304, "3b": 3.085938688, "7b": 7.615616512}  # as published, embeddings included


@pytest.mark.parametrize(("size", "fits"), [("1.5b", True), ("3b", True), ("7b", False)])
def test_one_gpu_of_80_gb_holds_what_the_readme_says(root, tmp_path, size, fits):
    params = load_params(root / f"presets/qwen2.5-{size}-gsm8k.yaml")
    assert (peak_mib(memory_plan(Workspace(tmp_path), params)) < 80e9 / 2**20) == fits


@pytest.mark.parametrize("size", BILLIONS)
def test_the_papers_presets_print_a_plan(root, tmp_path, monkeypatch, size):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    params = load_params(root / f"presets/qwen2.5-{size}-math.yaml")
    plan = {item.name: item.mib for item in memory_plan(Workspace(tmp_path), params)}
    assert plan["policy"] == pytest.approx(BILLIONS[size] * 1e9 * 2 / 2**20)
    assert plan["optimizer"] == pytest.approx(BILLIONS[size] * 1e9 * 8 / 2**20)


def test_a_workspaces_own_model_is_read(root, tmp_path, model_directory):
    place = Workspace(tmp_path)
    place.raw_model.parent.mkdir(parents=True)
    params = load_params(root / "presets/gsm8k-smollm2.yaml")
    with pytest.raises(ApoError, match="no such directory"):
        memory_plan(place, params)
    model_directory.rename(place.raw_model)
    assert 0 < memory_plan(place, params)[1].mib < 1
