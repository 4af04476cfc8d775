"""Where the hub's time goes during one measurement: by py-spy if there is one, else by the hub's sampler.

May import: msgspec, benchmarks.hub.
"""

import os
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from benchmarks.hub import Hub, HubError
from benchmarks.meter import TICKS

TOP = 25
EVERYTHING = 0.9  #: what nearly all stacks have in common says nothing


class Profile(msgspec.Struct, frozen=True):
    """Stacks (`a;b;c`, leaf last) and how often each was seen."""

    stacks: dict[str, int]
    threads: dict[str, float]  #: CPU seconds by thread

    def table(self, top: int = TOP) -> str:
        total = sum(self.stacks.values()) or 1
        own, under = own_and_under(self.stacks)
        lines = ["  self  under  function"]
        lines += [f"{n / total:6.1%} {under[name] / total:6.1%}  {name}" for name, n in own.most_common(top)]
        lines += ["", "  under  function, by all that it calls"]
        telling = [(name, n) for name, n in under.most_common() if n < EVERYTHING * total]
        lines += [f"{n / total:7.1%}  {name}" for name, n in telling[:top]]
        lines += [
            "",
            "CPU seconds by thread: " + ", ".join(f"{k} {v:.1f}" for k, v in sorted(self.threads.items())),
        ]
        return "\n".join(lines)


def own_and_under(stacks: dict[str, int]) -> tuple[Counter[str], Counter[str]]:
    """Samples in a function itself, and in it or anything it called (recursion counts once)."""
    own: Counter[str] = Counter()
    under: Counter[str] = Counter()
    for stack, seen in stacks.items():
        names = stack.split(";")
        own[names[-1]] += seen
        for name in set(names):
            under[name] += seen
    return own, under


@contextmanager
def profiled(hub: Hub, file: Path) -> Iterator[None]:
    """Profile the hub while the body runs; write the table to `file` and the raw stacks beside it."""
    before = thread_cpu(hub.pid)
    record = _by_pyspy if shutil.which("py-spy") else _by_sampler
    with record(hub, file.with_suffix(".stacks")):
        yield
    after = thread_cpu(hub.pid)
    threads = {name: used - before.get(name, 0.0) for name, used in after.items()}
    file.write_text(Profile(read_stacks(file.with_suffix(".stacks")), threads).table() + "\n")


@contextmanager
def _by_pyspy(hub: Hub, raw: Path) -> Iterator[None]:
    """Threads that hold the interpreter's lock: py-spy takes many a waiting thread for a working one."""
    how = ["--gil", "--function", "--format", "raw", "--rate", "200"]
    argv = ["py-spy", "record", "--pid", str(hub.pid), *how, "--output", str(raw)]
    spy = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        spy.send_signal(signal.SIGINT)
        spy.wait(60)
    if not raw.exists():
        raise HubError(f"py-spy ended with {spy.returncode} and wrote no profile")


@contextmanager
def _by_sampler(hub: Hub, raw: Path) -> Iterator[None]:
    if not catches(hub.pid, signal.SIGUSR1):
        raise HubError("the serving process has no sampler; install py-spy for a profile")
    hub.profile.unlink(missing_ok=True)
    os.kill(hub.pid, signal.SIGUSR1)
    yield
    os.kill(hub.pid, signal.SIGUSR2)
    deadline = time.perf_counter() + 10
    while not hub.profile.exists():
        if time.perf_counter() > deadline:
            raise HubError("the hub's sampler wrote no profile within 10 s")
        time.sleep(0.05)
    counts = msgspec.json.decode(hub.profile.read_bytes(), type=dict[str, int])
    raw.write_text("".join(f"{stack} {seen}\n" for stack, seen in counts.items()))


def catches(pid: int, number: signal.Signals) -> bool:
    """Whether the process handles the signal, which would end it otherwise."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("SigCgt:"):
            return bool(int(line.split()[1], 16) >> (number - 1) & 1)
    return False


def read_stacks(raw: Path) -> dict[str, int]:
    lines = [line.rpartition(" ") for line in raw.read_text().splitlines() if line]
    return {stack: int(seen) for stack, _, seen in lines}


def thread_cpu(pid: int) -> dict[str, float]:
    """CPU seconds of each thread so far, by `name/id`."""
    used: dict[str, float] = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            head, _, rest = (task / "stat").read_text().rpartition(")")
        except FileNotFoundError:  # ended since it was listed
            continue
        fields = rest.split()
        used[f"{head.partition('(')[2]}/{task.name}"] = (int(fields[11]) + int(fields[12])) / TICKS
    return used
