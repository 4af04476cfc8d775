"""The process between a sidecar and a Mind: `python -m sidecar.mind_runner FOLDER`.

It detaches, so that a restart of the sidecar does not touch the Mind, and leaves in FOLDER what a next
sidecar must know: `runner.json` and `mind.json` (pid and start), `exit.json` (how it ended), `mind.log`. It
reads `spec.json`. SIGTERM stops the Mind. A lock keeps a second runner of the same folder out.
Only the standard library and sidecar.{files, process}.
"""

import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from sidecar import files, process


def main(folder: Path) -> int:
    """Returns in the caller's process when the detached runner has recorded itself."""
    ready, tell = os.pipe()
    if os.fork() == 0:
        os.close(ready)
        _detach(folder)
        try:
            _run(folder, tell)
        finally:
            os._exit(0)
    os.close(tell)
    os.read(ready, 1)  # ends with the word, or with the runner
    return 0


def _detach(folder: Path) -> None:
    os.setsid()
    log = os.open(folder / "runner.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    null = os.open(os.devnull, os.O_RDONLY)
    for target, source in ((0, null), (1, log), (2, log)):
        os.dup2(source, target)


def _run(folder: Path, tell: int) -> None:
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return  # another runner has this folder
    if (folder / "exit.json").exists():
        return
    stop = _StopFlag()
    files.write_json(folder / "runner.json", process.record(os.getpid()))
    os.write(tell, b"1")
    os.close(tell)
    began = time.time()
    ended = _mind(folder, stop)
    files.write_json(folder / "exit.json", {**ended, "seconds": round(time.time() - began, 3)})


class _StopFlag:
    def __init__(self) -> None:
        self.is_set = False
        signal.signal(signal.SIGTERM, self._set)

    def _set(self, _number: int, _frame: object) -> None:
        self.is_set = True


def _mind(folder: Path, stop: _StopFlag) -> dict[str, Any]:
    """Run the Mind to its end and say how it ended."""
    before = files.read_json(folder / "mind.json")
    if before is not None:  # of a runner that was killed: its exit status is lost, so is our hold on it
        if process.is_alive(before):
            process.end_group(int(before["pid"]), 5.0)
        return {"how": "lost", "exit": None}
    spec = files.read_json(folder / "spec.json") or {}
    try:
        mind = _spawn(folder, spec)
    except OSError as exc:
        return {"how": "not_started", "exit": None, "reason": f"{spec['argv'][0]}: {exc.strerror or exc}"}
    files.write_json(folder / "mind.json", process.record(mind.pid))
    how = _wait(mind, stop, float(spec["max_runtime_s"]))
    if how != "exited":
        process.end_group(mind.pid, float(spec["grace_s"]))
    code = mind.wait()
    process.signal_group(mind.pid, signal.SIGKILL)  # what it left in the background ends with it
    return {"how": how, "exit": code}


def _spawn(folder: Path, spec: dict[str, Any]) -> "subprocess.Popen[bytes]":
    with (folder / "mind.log").open("ab") as log:
        return subprocess.Popen(
            spec["argv"],
            cwd=spec["cwd"],
            env={**os.environ, **spec["env"]},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _wait(mind: "subprocess.Popen[bytes]", stop: _StopFlag, max_runtime_s: float) -> str:
    deadline = time.monotonic() + max_runtime_s
    while time.monotonic() < deadline:
        try:
            mind.wait(timeout=0.2)
        except subprocess.TimeoutExpired:
            if stop.is_set:
                return "stopped"
        else:
            return "exited"
    return "max_runtime"


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
