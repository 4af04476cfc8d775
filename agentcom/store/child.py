"""Work in a child process: what may crash on a damaged file, or would hold the interpreter for long.

A tool is a module of this package that is run as `python -m agentcom.store.NAME`. It reads a JSON object on its first
line of input, prints JSON objects, one a line, of which the last is its result (`{"ok": …}` or
`{"error": sentence, "kind": …}`), and ends when its input does: so it never outlives who started it.
May import: standard library, msgspec.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import msgspec

from agentcom.store.errors import StoreError

DAMAGE = ("SIGBUS", "SIGSEGV", "SIGABRT", "SIGFPE", "SIGILL")
"""What ends who reads a damaged file. Any other signal was sent by somebody, and says nothing of the file."""


class ToolFailed(StoreError):
    """A tool said why it could not do its work, or ended without saying anything.

    `kind` is the error's class name as the tool had it; "signal" when it was ended by one.
    """

    def __init__(self, tool: str, kind: str, why: str) -> None:
        super().__init__(tool, kind, why)
        self.tool, self.kind, self.why = tool, kind, why

    def __str__(self) -> str:
        return f"{self.tool}: {self.why}"

    @property
    def damage(self) -> bool:
        """It died of what it read: the file is damaged, as far as can be told from outside."""
        return self.kind == "signal" and self.why.endswith(DAMAGE)


class Tool:
    """One run of a tool. `run` blocks and belongs on a thread; `stop` may be called from any other."""

    def __init__(self, name: str, on_line: Callable[[Any], None] | None = None) -> None:
        self._name, self._on_line = name, on_line
        self._process: subprocess.Popen[bytes] | None = None
        self._stopped = False

    def run(self, argument: Any) -> Any:
        """The tool's result. Raises `ToolFailed`."""
        argv = [sys.executable, "-m", f"agentcom.store.{self._name}"]
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        pipe = subprocess.PIPE
        with subprocess.Popen(argv, stdin=pipe, stdout=pipe, stderr=pipe, env=env) as process:
            self._process = process
            if self._stopped:
                process.kill()
            return self._talk(process, argument)

    def stop(self) -> None:
        """End it, if it runs."""
        self._stopped = True
        if self._process is not None:
            self._process.kill()

    def _talk(self, process: subprocess.Popen[bytes], argument: Any) -> Any:
        """One line is held back, as the last one is the result."""
        assert process.stdin is not None  # all three are pipes
        assert process.stdout is not None
        assert process.stderr is not None
        errors = process.stderr
        told: list[bytes] = []
        reader = threading.Thread(target=lambda: told.append(errors.read()), daemon=True)
        reader.start()
        with contextlib.suppress(BrokenPipeError):  # its end says why
            process.stdin.write(msgspec.json.encode(argument) + b"\n")
            process.stdin.flush()
        last: Any = None
        for line in process.stdout:
            if last is not None and self._on_line is not None:
                self._on_line(last)
            last = msgspec.json.decode(line)
        process.wait()
        reader.join()
        return self._result(process.returncode, last, b"".join(told).decode(errors="replace"))

    def _result(self, code: int, last: Any, told: str) -> Any:
        if code < 0:
            name = signal.Signals(-code).name
            raise ToolFailed(self._name, "signal", f"it was ended by {name}")
        if isinstance(last, dict) and "ok" in last and code == 0:
            return last["ok"]
        if isinstance(last, dict) and "error" in last:
            raise ToolFailed(self._name, str(last.get("kind", "")), str(last["error"]))
        tail = told.strip().splitlines()[-1:] or ["it said nothing"]
        raise ToolFailed(self._name, "exit", f"it ended with code {code}: {tail[0]}")


def main(work: Callable[[Any], Any], *, nice: int = 10) -> None:
    """A tool's whole main program: `work(argument)` returns what encodes as JSON. `nice=0` when someone waits."""
    os.nice(nice)
    argument = msgspec.json.decode(sys.stdin.buffer.readline())
    threading.Thread(target=_end_with_input, daemon=True).start()
    try:
        say({"ok": work(argument)})
    except Exception as error:  # noqa: BLE001  # told to who started it, which decides
        say({"error": str(error) or type(error).__name__, "kind": type(error).__name__})
        sys.exit(1)


def say(line: Any) -> None:
    """One line of a tool's output, at once."""
    sys.stdout.buffer.write(msgspec.json.encode(line) + b"\n")
    sys.stdout.buffer.flush()


def _end_with_input() -> None:
    """Not by `sys.stdin`: the lock of one that waits there ends the interpreter by SIGABRT when the work is done."""
    while os.read(0, 4096):
        pass
    os._exit(3)
