import platform
import struct

import pytest

from apo_core.verifiers.code.seccomp import is_supported, system_call_filter

EPERM, ENOSYS, ALLOW, KILL = 0x00050001, 0x00050026, 0x7FFF0000, 0x80000000
X86_64 = 0xC000003E


def run(code, number, argument=0, architecture=X86_64):
    """Run a filter as the kernel does."""
    data = {0: number, 4: architecture, 16: argument}
    instructions = list(struct.iter_unpack("=HBBI", code))
    at = loaded = 0
    while True:
        operation, jump_true, jump_false, k = instructions[at]
        at += 1
        if operation == 0x06:
            return k
        if operation == 0x20:
            loaded = data[k]
        else:
            holds = {0x15: loaded == k, 0x25: loaded > k, 0x45: bool(loaded & k)}[operation]
            at += jump_true if holds else jump_false


@pytest.fixture(params=[False, True])
def strict(request):
    return request.param


@pytest.fixture
def code(strict, monkeypatch):
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    return system_call_filter(strict=strict)


# read, mmap, exit, futex, socketpair, own limits
@pytest.mark.parametrize(("number", "argument"), [(0, 3), (9, 0), (60, 0), (202, 1), (53, 1), (302, 0)])
def test_what_programs_need_is_allowed(code, number, argument):
    assert run(code, number, argument) == ALLOW


# socket, ptrace, process_vm_readv, mount, unshare, bpf, io_uring_setup, shmget, another process's limits
@pytest.mark.parametrize("number", [41, 101, 310, 165, 272, 321, 425, 29])
def test_what_reaches_beyond_a_process_is_denied(code, number):
    assert run(code, number) == EPERM


def test_limits_of_other_processes_are_denied(code):
    assert run(code, 302, argument=1) == EPERM


def test_core_dumps_stay_off(code, strict):
    assert run(code, 157, argument=4) == (EPERM if strict else ALLOW)
    assert run(code, 157, argument=15) == ALLOW  # the name of a thread


def test_what_is_unknown_does_not_exist(code):
    assert run(code, 463) == run(code, 0x40000000) == run(code, 435) == ENOSYS


def test_another_architecture_is_killed(code):
    assert run(code, 0, architecture=0x40000003) == KILL


def test_threads_are_allowed_processes_are_not(code, strict):
    thread, process, user_namespace = 0x003D0F00, 0x01200011, 0x10000000
    assert run(code, 56, thread) == ALLOW
    assert run(code, 56, process) == (EPERM if strict else ALLOW)
    assert run(code, 56, user_namespace | thread) == EPERM
    # fork, execve, memfd_create
    assert {run(code, number) for number in (57, 59, 319)} == {EPERM if strict else ALLOW}


def test_there_is_a_filter_for_arm_and_for_no_unknown_machine(monkeypatch):
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert is_supported()
    assert run(system_call_filter(strict=True), 198, architecture=0xC00000B7) == EPERM  # socket
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    assert not is_supported()
