import errno
import os

import pytest

from apo_core.config.file import set_params
from flows.workspaces import preset_text
from tasks.stages.process import INPUT_ERROR, _prepare_training, run_stage_here
from tasks.workspace import Workspace


def test_an_input_that_cannot_be_read_is_one_line_and_another_try_may_help(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text(preset_text("ci"))

    def run(workspace):
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), str(workspace.values))

    with pytest.raises(SystemExit) as ended:
        run_stage_here("train", run, first=False)
    assert ended.value.code not in (0, INPUT_ERROR)
    assert capsys.readouterr().err == "error: data/values.parquet: Stale file handle\n"


@pytest.mark.parametrize(("engine", "set_to"), [("transformers", "expandable_segments:True"), ("vllm", None)])
def test_gpu_memory_that_vllm_reads_is_allocated_as_ever(tmp_path, monkeypatch, engine, set_to):
    monkeypatch.setattr(os, "environ", {})
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text(preset_text("ci"))
    set_params(tmp_path / "params.yaml", [f"train.sampler.engine={engine}"])
    _prepare_training(Workspace(tmp_path), launch=True)
    assert os.environ.get("PYTORCH_ALLOC_CONF") == set_to
