"""Tests see no GPU unless asked to: on a host with GPUs they are the same tests."""

import os
import subprocess
import sys

import pytest
from builders import wants_gpu

WITHOUT = {"HOME": "/"}


@pytest.mark.parametrize(
    ("markexpr", "environ", "visible"),
    [
        ("", WITHOUT, False),
        ("not slow", WITHOUT, False),
        ("not gpu", WITHOUT, False),
        ("gpu", WITHOUT, True),
        ("gpu and not slow", WITHOUT, True),
        ("", {"APO_TEST_GPU": "1"}, True),
        ("", {"APO_TEST_GPU": "0"}, False),
    ],
)
def test_who_asks_for_gpus(markexpr, environ, visible):
    assert wants_gpu(markexpr, environ) is visible


@pytest.mark.skipif(os.environ.get("APO_TEST_GPU") == "1", reason="asked for GPUs")
def test_neither_a_test_nor_what_it_starts_sees_a_gpu():
    script = "import os; print(repr(os.environ.get('CUDA_VISIBLE_DEVICES')))"
    output = subprocess.run(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, check=True
    ).stdout
    assert os.environ["CUDA_VISIBLE_DEVICES"] == ""
    assert output.strip() == "''"
