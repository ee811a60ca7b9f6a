import errno
import os
import shutil

import pytest

from flows.cli import main as command_line


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError(errno.EIO, os.strerror(errno.EIO), "data/x"), "data/x: Input/output error"),
        (IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), "dvc.lock"), "dvc.lock: Is a directory"),
        (shutil.Error([("from", "to", "No space left on device")]), "from: No space left on device"),
        (OSError("without a file"), "without a file"),
    ],
)
def test_what_a_disk_refuses_is_one_line_and_status_2(monkeypatch, capsys, error, line):
    def refuse(_arguments):
        raise error

    monkeypatch.setattr(command_line, "prepare_command", lambda: None)
    monkeypatch.setattr(command_line, "app", refuse)
    with pytest.raises(SystemExit) as ended:
        command_line.main()
    assert ended.value.code == 2
    assert capsys.readouterr().err == f"error: {line}\n"
