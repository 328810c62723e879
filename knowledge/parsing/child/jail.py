"""Takes away what a reader does not need. Standard library only: it runs before any parser is imported."""

import ctypes
import os
import platform
import resource
import signal
import sys

_PR_SET_PDEATHSIG, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS, _SECCOMP_MODE_FILTER = 1, 22, 38, 2
_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_ALLOW, _EPERM = 0x7FFF0000, 0x00050000 | 1
_NUMBER, _ARCH = 0, 4  # offsets in struct seccomp_data
_X32 = 0x40000000  # the other way to number calls on x86-64

# socket, socketpair, execve, execveat, ptrace, io_uring_setup, process_vm_readv, process_vm_writev,
# clone, clone3 and what else makes a process: no reader needs a second one, or a thread
_FORBIDDEN = {
    "x86_64": (0xC000003E, (41, 53, 59, 322, 101, 425, 310, 311, 56, 435, 57, 58)),
    "aarch64": (0xC00000B7, (198, 199, 221, 281, 117, 425, 270, 271, 220, 435)),
}


class _Instruction(ctypes.Structure):
    _fields_ = [
        ("code", ctypes.c_uint16),
        ("jt", ctypes.c_uint8),
        ("jf", ctypes.c_uint8),
        ("k", ctypes.c_uint32),
    ]


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_uint16), ("instructions", ctypes.POINTER(_Instruction))]


def enter(limits: dict, parent: int) -> None:
    """Set every limit for this process, for good.

    parent  the process that started this one; it takes us with it when it dies
    Raises  OSError  the system refused: then nothing must be read
    """
    linux = sys.platform == "linux"
    if linux:
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before we asked
            os._exit(1)
    for name, soft, hard in (
        (resource.RLIMIT_CPU, limits["cpu_seconds"], limits["cpu_seconds"] + 1),
        (resource.RLIMIT_FSIZE, 1024**2, 1024**2),
        (resource.RLIMIT_NOFILE, 64, 64),
        (resource.RLIMIT_CORE, 0, 0),
        (resource.RLIMIT_AS, limits["memory_bytes"], limits["memory_bytes"]),
    ):
        resource.setrlimit(name, (soft, hard))
    if linux and platform.machine() in _FORBIDDEN:
        _forbid(*_FORBIDDEN[platform.machine()])


def _forbid(arch: int, calls: tuple[int, ...]) -> None:
    refuse = 5 + len(calls)  # where the last instruction stands
    steps = [
        (_LOAD, 0, 0, _ARCH),
        (_EQUAL, 0, refuse - 2, arch),
        (_LOAD, 0, 0, _NUMBER),
        (_AT_LEAST, refuse - 4, 0, _X32),
        *((_EQUAL, refuse - 5 - i, 0, call) for i, call in enumerate(calls)),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _EPERM),
    ]
    instructions = (_Instruction * len(steps))(*steps)
    program = _Program(len(steps), instructions)
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    _prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.addressof(program))


def _prctl(option: int, value: int, third: int = 0) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl.argtypes = [ctypes.c_int] + [ctypes.c_ulong] * 4
    if libc.prctl(option, value, third, 0, 0):
        raise OSError(ctypes.get_errno(), f"prctl {option}")
