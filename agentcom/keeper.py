"""The small parent of a hub where no systemd is: starts it again when it ends abnormally, and never outlives it.

`keep` forks. The parent stays here, single-threaded and without the hub's imports; the child returns with its
`Leash` and becomes the hub. Standard input and output are the child's as they were. The child gets SIGTERM when the
parent dies (Linux), and sees the end of the leash (everywhere).
May import: agentcom.{keeping, plain_log}, the standard library.
"""

import contextlib
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Mapping
from typing import Any, Literal

from agentcom import keeping
from agentcom.plain_log import PlainLog

STOP = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
PASSED_ON = (*STOP, signal.SIGUSR1, signal.SIGUSR2)
PR_SET_PDEATHSIG = 1


def is_wanted(mode: Literal["auto", "on", "off"], environ: Mapping[str, str], pid: int) -> bool:
    """`auto`: unless systemd started this very process. A terminal's own INVOCATION_ID says nothing of us."""
    if mode != "auto":
        return mode == "on"
    direct = environ.get("SYSTEMD_EXEC_PID", str(pid)) == str(pid)
    return not (environ.get("NOTIFY_SOCKET") or (environ.get("INVOCATION_ID") and direct))


class Leash:
    """The hub's end of its tie to the keeper."""

    def __init__(self, tie: socket.socket, port: int) -> None:
        self._tie = tie
        self.port = port
        """Where an earlier life served; 0 in the first."""

    def fileno(self) -> int:
        return self._tie.fileno()

    def served(self, port: int) -> None:
        """From now on an abnormal end is followed by a new start, on the same port."""
        with contextlib.suppress(BrokenPipeError):  # the keeper died: the end of the leash is told elsewhere
            self._tie.send(str(port).encode())


def keep(log: PlainLog) -> Leash:
    """Returns in each child, one after the other; the parent ends with the last one's exit code."""
    return Keeper(log).run()


class Keeper:
    """One hub at a time, for as long as it ends abnormally."""

    def __init__(self, log: PlainLog) -> None:
        self._log = log
        self._child = 0
        self._asked = False
        self._port = 0
        self._before: dict[int, Any] = {}

    def run(self) -> Leash:
        self._listen()
        past = keeping.Past()
        while True:
            begun = time.monotonic()
            leash, tie = self._start()
            if leash is not None:
                return leash
            end = self._until_end(tie, begun)
            past = self._after(past, end)

    def _after(self, past: keeping.Past, end: keeping.End) -> keeping.Past:
        """Waits as long as it was decided to; ends the process when there is nothing more to do."""
        decided = keeping.decide(past, end, time.monotonic())
        if isinstance(decided, keeping.Again) and not self._asked:
            self._log.warning(
                "hub.ended", code=end.code, lived_s=round(end.lived_s, 1), again_in_s=decided.wait_s
            )
            self._rest(decided.wait_s)
            if not self._asked:
                return decided.past
        elif isinstance(decided, keeping.Enough) and end.code < 0 and not self._asked:
            self._log.error("hub.killed", signal=-end.code, lived_s=round(end.lived_s, 1))
        if isinstance(decided, keeping.Enough) and decided.gave_up:
            self._log.error(
                "keeper.gave_up", code=end.code, restarts=keeping.INTENSITY, within_s=keeping.PERIOD_S
            )
        sys.exit(keeping.exit_code(end.code))

    # --- signals -----------------------------------------------------------------------------------

    def _listen(self) -> None:
        """What was ignored stays so (nohup), but for the two that stop a hub started in the background too."""
        self._woken, wake = socket.socketpair()
        self._woken.setblocking(False)
        wake.setblocking(False)
        self._wake = wake
        signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
        for number in PASSED_ON:
            before = signal.getsignal(number)
            if before is not signal.SIG_IGN or number in (signal.SIGTERM, signal.SIGINT):
                self._before[number] = before
                signal.signal(number, self._on_signal)
        self._before[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, lambda *_: None)

    def _on_signal(self, number: int, _frame: Any) -> None:
        self._asked = self._asked or number in STOP
        if self._child:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._child, number)

    def _until_signal(self, timeout_s: float | None) -> None:
        select.select([self._woken], [], [], timeout_s)
        with contextlib.suppress(BlockingIOError):
            while self._woken.recv(512):
                pass

    def _rest(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self._asked and (left := until - time.monotonic()) > 0:
            self._until_signal(left)

    # --- the child ---------------------------------------------------------------------------------

    def _start(self) -> tuple[Leash | None, socket.socket]:
        """A leash in the child, none in the parent. Signals wait meanwhile: they must find the child known."""
        keeper = os.getpid()
        tie, theirs = socket.socketpair()
        sys.stdout.flush()
        sys.stderr.flush()
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, PASSED_ON)
        if self._asked:
            sys.exit(keeping.exit_code(-signal.SIGTERM))
        self._child = os.fork()
        if self._child:
            theirs.close()
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            return None, tie
        tie.close()
        self._forget_being_keeper()
        end_with_parent(keeper)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        return Leash(theirs, self._port), theirs

    def _forget_being_keeper(self) -> None:
        signal.set_wakeup_fd(-1)
        self._wake.close()
        self._woken.close()
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _until_end(self, tie: socket.socket, begun: float) -> keeping.End:
        while (status := _reaped(self._child)) is None:
            self._until_signal(None)
        self._child = 0
        port = _served_on(tie)
        self._port = port or self._port
        return keeping.End(status, time.monotonic() - begun, served=port > 0)


def _served_on(tie: socket.socket) -> int:
    """The port that a dead child told; 0 if it never served."""
    with tie:
        tie.setblocking(False)
        try:
            return int(tie.recv(16) or 0)
        except (BlockingIOError, ConnectionResetError):
            return 0


def _reaped(child: int) -> int | None:
    """The exit code, below zero for a signal; None while it runs."""
    pid, status = os.waitpid(child, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if pid else None


def end_with_parent(parent: int) -> None:
    """SIGTERM when the parent dies, however it does. Elsewhere than on Linux the leash alone tells."""
    if sys.platform == "linux":
        import ctypes  # in the child only: it is not small

        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGTERM)
