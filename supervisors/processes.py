"""What an actor does on a base that gives it a process of its own, so that its end is seen and nothing outlives it.

Lives here: signals and process ids of Linux. May import: stdlib only. On a base where all actors share one process,
none of it happens.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal

PR_SET_PDEATHSIG = 1
FATAL = (signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL)


def settle_in(parent_pid: int) -> int:
    """Makes the faults of this process end it, and the end of its parent too. Returns its pid, 0 if it is shared."""
    pid = os.getpid()
    if pid == parent_pid:
        return 0
    # Thespian catches these and goes on, so that a process which hits one spins for ever and nobody is told.
    for fault in FATAL:
        signal.signal(fault, signal.SIG_DFL)
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:
        os.kill(pid, signal.SIGKILL)  # the parent died before it could be told to take this one along
    return pid


def kill_child(pid: int) -> bool:
    """SIGKILL to a child process of this one; False, and nothing sent, if `pid` is none (any more)."""
    try:
        # Looks without reaping: a number that the system gave to a stranger since is not ours to kill.
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    return True
