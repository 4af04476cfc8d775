"""The demo's child processes: each with a log of its own, each stopped by its pid, in reverse.

May import: the standard library only.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

STOP_S = 20.0


class Child(NamedTuple):
    name: str
    process: subprocess.Popen[bytes]
    log: Path


class Ended(Exception):
    """A child that should run, or a step that should succeed, did not."""

    def __init__(self, name: str, code: int | None, log: Path) -> None:
        super().__init__(name, code, log)
        self.name, self.code, self.log = name, code, log

    def __str__(self) -> str:
        how = "did not end in time" if self.code is None else f"ended with exit code {self.code}"
        return f"{self.name} {how}; the end of its log:\n{tail(self.log)}"


class Fleet:
    """What was started, in order."""

    def __init__(self, logs: Path, env: Mapping[str, str]) -> None:
        self.children: list[Child] = []
        self._logs = logs
        self._env = clean_env(env)

    def start(self, name: str, argv: Sequence[str]) -> Child:
        """A child in a session of its own, so that Ctrl-C reaches it only through us."""
        log = self._logs / f"{name}.log"
        with log.open("ab") as out:
            process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=self._env, start_new_session=True
            )
        child = Child(name, process, log)
        self.children.append(child)
        return child

    def step(self, name: str, argv: Sequence[str], timeout_s: float = 60.0) -> None:
        """A command that must succeed before the demo goes on."""
        child = self.start(name, argv)
        try:
            code = child.process.wait(timeout_s)
        except subprocess.TimeoutExpired as exc:
            raise Ended(name, None, child.log) from exc
        self.children.remove(child)
        if code != 0:
            raise Ended(name, code, child.log)

    def check(self) -> None:
        """Raises `Ended` for a child that is no longer there."""
        for child in self.children:
            if (code := child.process.poll()) is not None:
                raise Ended(child.name, code, child.log)

    def stop(self) -> list[str]:
        """Stop all, the newest first; the names of those that had to be killed."""
        return [child.name for child in reversed(self.children) if not stop(child.process)]

    def pids(self) -> list[int]:
        return [child.process.pid for child in reversed(self.children)]


def stop(process: subprocess.Popen[bytes]) -> bool:
    """SIGTERM, then SIGKILL to its group; whether it went by itself."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return False
    return True


def clean_env(env: Mapping[str, str]) -> dict[str, str]:
    """The user's environment without what would make this demo another one: AgentCom's and git's settings."""
    kept = {key: value for key, value in env.items() if not key.startswith(("AGENTCOM_", "GIT_"))}
    return {**kept, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "PYTHONUNBUFFERED": "1"}


def python(*arguments: str) -> list[str]:
    return [sys.executable, *arguments]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def tail(log: Path, lines: int = 8) -> str:
    text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
    return "\n".join(f"    {line}" for line in text.splitlines()[-lines:]) or "    (it is empty)"


def stop_by_pid(pid: int, timeout_s: float = STOP_S) -> None:
    """End a process that is no child of ours: SIGTERM, and SIGKILL when it stays."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
        until = time.monotonic() + timeout_s
        while time.monotonic() < until:
            os.kill(pid, 0)
            time.sleep(0.05)
        os.kill(pid, signal.SIGKILL)
