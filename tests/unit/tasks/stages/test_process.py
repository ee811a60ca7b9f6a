import errno
import os

import pytest

from flows.workspaces import preset_text
from tasks.stages.process import INPUT_ERROR, run_stage_here


def test_an_input_that_cannot_be_read_is_one_line_and_another_try_may_help(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text(preset_text("ci"))

    def run(workspace):
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), str(workspace.values))

    with pytest.raises(SystemExit) as ended:
        run_stage_here("train", run, first=False)
    assert ended.value.code not in (0, INPUT_ERROR)
    assert capsys.readouterr().err == "error: data/values.parquet: Stale file handle\n"
