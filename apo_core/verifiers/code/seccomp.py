"""Filters of system calls (seccomp), as the kernel reads them: classic BPF, 8 bytes per instruction.

Two filters: one for everything in the sandbox, and a strict one for the processes that run what a model
wrote, which may start threads but no process. A filter denies what could reach beyond a process (sockets,
tracing, namespaces, mounts, shared memory), what holds memory that no limit counts, and every system call
that is newer than this list.
"""

from __future__ import annotations

import platform
import struct
from typing import NamedTuple


class _Machine(NamedTuple):
    """An architecture: its AUDIT_ARCH number and its system calls' numbers; None: it has no such call."""

    audit: int
    newest: int
    clone: int
    prlimit: int
    prctl: int
    denied: tuple[int, ...]
    denied_strictly: tuple[int, ...]


_NEWEST = 462  # mseal, of Linux 6.10; the same on all architectures
_CLONE3 = 435
# The same on all architectures: memory of other processes, io_uring, mounts, memory without a file.
_COMMON = (425, 426, 427, 428, 429, 430, 431, 432, 433, 438, 440, 442, 443, 447, 448, 457, 458)
_X86_64 = _Machine(
    audit=0xC000003E,
    newest=_NEWEST,
    clone=56,
    prlimit=302,
    prctl=157,
    denied=(
        *_COMMON,
        *(
            41,
            42,
            49,
            101,
            310,
            311,
            312,
        ),  # socket, connect, bind, ptrace, process_vm_readv, process_vm_writev, kcmp
        *(155, 161, 165, 166, 272, 308),  # pivot_root, chroot, mount, umount2, unshare, setns
        *(248, 249, 250, 298, 321, 323),  # add_key, request_key, keyctl, perf_event_open, bpf, userfaultfd
        *(29, 30, 31, 64, 65, 66, 220, 68, 69, 70, 71, 240),  # shared memory, semaphores, message queues
        *(
            103,
            135,
            154,
            278,
            300,
            303,
            304,
        ),  # syslog, personality, modify_ldt, vmsplice, fanotify_init, file handles
        *(206, 253, 256, 279, 294),  # io_setup, inotify_init, migrate_pages, move_pages, inotify_init1
    ),
    denied_strictly=(
        *(57, 58, 59, 322, 319, 434),  # fork, vfork, execve, execveat, memfd_create, pidfd_open
        *(141, 142, 144, 203, 251, 314),  # priorities and scheduling, of other processes too
    ),
)
_AARCH64 = _Machine(
    audit=0xC00000B7,
    newest=_NEWEST,
    clone=220,
    prlimit=261,
    prctl=167,
    denied=(
        *_COMMON,
        *(
            198,
            203,
            200,
            117,
            270,
            271,
            272,
        ),  # socket, connect, bind, ptrace, process_vm_readv, process_vm_writev, kcmp
        *(41, 51, 40, 39, 97, 268),  # pivot_root, chroot, mount, umount2, unshare, setns
        *(217, 218, 219, 241, 280, 282),  # add_key, request_key, keyctl, perf_event_open, bpf, userfaultfd
        *(194, 195, 196, 190, 191, 192, 193, 186, 187, 188, 189, 180),  # as above
        *(116, 92, 75, 262, 264, 265),  # syslog, personality, vmsplice, fanotify_init, file handles
        *(0, 238, 239, 26),  # io_setup, migrate_pages, move_pages, inotify_init1
    ),
    denied_strictly=(
        *(221, 281, 279, 434),  # execve, execveat, memfd_create, pidfd_open
        *(140, 118, 119, 122, 30, 274),  # priorities and scheduling, of other processes too
    ),
)
_MACHINES = {"x86_64": _X86_64, "aarch64": _AARCH64}

_LOAD, _EQUAL, _GREATER, _ANY_BIT, _RETURN = 0x20, 0x15, 0x25, 0x45, 0x06
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16  # offsets in the kernel's struct seccomp_data
_ALLOW, _KILL = 0x7FFF0000, 0x80000000
_EPERM, _ENOSYS = 0x00050001, 0x00050026  # fails with this error
_ITSELF = 0  # as the id of a process
_SET_DUMPABLE = 4  # PR_SET_DUMPABLE
_THREAD = 0x00010000  # CLONE_THREAD
_NEW_NAMESPACES = 0x7E020080  # CLONE_NEW*


def is_supported() -> bool:
    """Whether there are filters for this machine's architecture."""
    return platform.machine() in _MACHINES


def system_call_filter(*, strict: bool) -> bytes:
    """Make the filter of this machine's architecture, for which `is_supported` holds."""
    machine = _MACHINES[platform.machine()]
    denied = machine.denied + (machine.denied_strictly if strict else ())
    code = [
        _instruction(_LOAD, _ARCHITECTURE),
        *_return_if(_EQUAL, machine.audit, _KILL, otherwise=True),
        _instruction(_LOAD, _NUMBER),
        *_return_if(_GREATER, machine.newest, _ENOSYS),
        # A filter cannot see the flags of clone3; the C library then takes clone.
        *_return_if(_EQUAL, _CLONE3, _ENOSYS),
    ]
    for number in denied:
        code += _return_if(_EQUAL, number, _EPERM)
    code += _with_argument(machine.prlimit, _return_if(_EQUAL, _ITSELF, _EPERM, otherwise=True))
    no_namespace = _return_if(_ANY_BIT, _NEW_NAMESPACES, _EPERM)
    if strict:
        # A core dump would start the machine's own program for them, outside.
        code += _with_argument(machine.prctl, _return_if(_EQUAL, _SET_DUMPABLE, _EPERM))
        no_namespace += _return_if(_ANY_BIT, _THREAD, _EPERM, otherwise=True)
    code += _with_argument(machine.clone, no_namespace)
    return b"".join([*code, _instruction(_RETURN, _ALLOW)])


def _with_argument(number: int, checks: list[bytes]) -> list[bytes]:
    """Check the first argument of a system call; what no check returns on is allowed."""
    body = [_instruction(_LOAD, _FIRST_ARGUMENT), *checks, _instruction(_RETURN, _ALLOW)]
    return [_instruction(_EQUAL, number, 0, len(body)), *body]


def _instruction(code: int, k: int, jump_true: int = 0, jump_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, jump_true, jump_false, k)


def _return_if(test: int, k: int, value: int, *, otherwise: bool = False) -> list[bytes]:
    """Return `value` if the test holds; with `otherwise`, if it does not."""
    skip = (1, 0) if otherwise else (0, 1)
    return [_instruction(test, k, *skip), _instruction(_RETURN, value)]
