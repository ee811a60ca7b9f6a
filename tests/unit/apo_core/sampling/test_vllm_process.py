"""What a trainer notices of an engine that cannot be reached; tests/integration runs real ones."""

import errno
import os

import pytest

from apo_core.errors import ApoError
from apo_core.sampling.vllm_process import _sending


def test_that_the_other_end_has_gone_shows_in_the_missing_answer():
    for gone in (BrokenPipeError(), ConnectionResetError()):
        with _sending():
            raise gone


def test_anything_else_that_keeps_a_message_is_one_line():
    full = OSError(errno.EMFILE, os.strerror(errno.EMFILE))
    problem = r"^train\.sampler: nothing can be sent to vLLM: Too many open files$"
    with pytest.raises(ApoError, match=problem), _sending():
        raise full
