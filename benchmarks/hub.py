"""A real hub in its own process: start, wait until it serves, kill, measure.

Ends only what it started: the process it spawned and that one's descendants.
May import: httpx, benchmarks.meter.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import httpx

LAUNCH = (sys.executable, "-m", "benchmarks.launch")
READY_S = 60.0
ROOT = Path(__file__).resolve().parents[1]


class HubError(Exception):
    """The hub did not start, did not answer, or ended."""


class Hub:
    """One data folder, and at most one hub serving it."""

    def __init__(self, folder: Path, command: Sequence[str] = LAUNCH, sets: Sequence[str] = ()) -> None:
        self.folder, self.data, self.log = folder, folder / "data", folder / "hub.log"
        self.profile = folder / "profile"
        self._command, self._sets = tuple(command), tuple(sets)
        self._process: subprocess.Popen[bytes] | None = None
        self.host, self.port, self.pid, self.token = "127.0.0.1", free_port(), 0, ""
        # With 64 threads the pool would close what it holds too much of, seen once: under another thread's request.
        kept = httpx.Limits(max_connections=100, max_keepalive_connections=100)
        at = f"http://{self.host}:{self.port}"
        self.http = httpx.Client(base_url=at, timeout=30.0, trust_env=False, limits=kept)

    def start(self, ready_s: float = READY_S) -> float:
        """Seconds from the start of the process to the first 200 of /ready."""
        self.folder.mkdir(parents=True, exist_ok=True)
        began = time.perf_counter()
        with self.log.open("ab") as log:
            self._process = self._spawn(log)
        while not self._ready():
            if self._process.poll() is not None:
                raise HubError(
                    f"the hub ended with {self._process.returncode} before it served; {self.tail()}"
                )
            if time.perf_counter() - began > ready_s:
                raise HubError(f"the hub was not ready within {ready_s:.0f} s; {self.tail()}")
            time.sleep(0.01)
        took = time.perf_counter() - began
        self.pid = serving_pid(self._process.pid, self.port)
        self.token = (self.data / "admin.token").read_text().strip()
        self.http.headers["authorization"] = f"Bearer {self.token}"
        return took

    def _spawn(self, log: IO[bytes]) -> subprocess.Popen[bytes]:
        sets = [part for item in self._sets for part in ("--set", item)]
        argv = [
            *self._command,
            "hub",
            "--data",
            str(self.data),
            "--host",
            self.host,
            "--port",
            str(self.port),
            *sets,
        ]
        env = {name: value for name, value in os.environ.items() if not name.startswith("AGENTCOM_")}
        env["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [env.get("PYTHONPATH")])])
        env["BENCHMARK_PROFILE"] = str(self.profile)
        return subprocess.Popen(argv, cwd=ROOT, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def _ready(self) -> bool:
        try:
            return self.http.get("/ready").status_code == 200
        except httpx.TransportError:
            return False

    def kill(self) -> None:
        """`kill -9` of everything this hub consists of, the parent first so that it starts nothing anew."""
        if self._process is None:
            return
        family = [self._process.pid, *descendants(self._process.pid)]
        for pid in family:
            _signal(pid, signal.SIGKILL)
        self._process.wait()
        self._process = None

    def stop(self, deadline_s: float = 30.0) -> None:
        """Ask it to end; kill what is left at the deadline. Raises HubError if it had to be killed."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(deadline_s)
        except subprocess.TimeoutExpired as exc:
            self.kill()
            raise HubError(f"the hub did not stop within {deadline_s:.0f} s; {self.tail()}") from exc
        self._process = None

    def rss_anon_mb(self) -> float:
        return status_kb(Path(f"/proc/{self.pid}/status").read_text(), "RssAnon") / 1024

    def data_mb(self) -> float:
        return sum(file.stat().st_blocks for file in self.data.rglob("*") if file.is_file()) * 512 / (1 << 20)

    def tasks(self) -> int:
        """How many tasks the hub says it has, in whatever state."""
        by_status: dict[str, int] = self._json(self.http.get("/api/tasks/stats"))["by_status"]
        return sum(by_status.values())

    def register(self, agent_id: str, capabilities: Sequence[str]) -> str:
        """The new agent's token."""
        body = {"agent_id": agent_id, "capabilities": list(capabilities)}
        token: str = self._json(self.http.post("/api/onboard/register", json=body))["token"]
        return token

    def make_channel(self, name: str) -> None:
        self._json(self.http.post("/api/channels", json={"name": name}))

    def _json(self, response: httpx.Response) -> Any:
        if response.status_code not in (200, 201):
            raise HubError(
                f"{response.request.url.path} was answered {response.status_code}: {response.text[:300]}"
            )
        return response.json()

    def tail(self, lines: int = 5) -> str:
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return f"the end of {self.log}:\n" + "\n".join(text.splitlines()[-lines:])


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def status_kb(status: str, name: str) -> int:
    """A line of /proc/PID/status, in kB."""
    for line in status.splitlines():
        key, _, value = line.partition(":")
        if key == name:
            return int(value.split()[0])
    raise ValueError(f"expected a line {name} in the process status")


def descendants(pid: int) -> list[int]:
    """Children first met first; a child that ends meanwhile has none."""
    found: list[int] = []
    queue = [pid]
    while queue:
        for child in _children(queue.pop(0)):
            found.append(child)
            queue.append(child)
    return found


def _children(pid: int) -> list[int]:
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        return [int(child) for task in tasks for child in (task / "children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def serving_pid(root: int, port: int) -> int:
    """Which process of the family listens on the port: the hub may run under a small parent."""
    inodes = _listening(port)
    for pid in [root, *descendants(root)]:
        if inodes & _sockets(pid):
            return pid
    raise HubError(f"no process of the hub listens on port {port}")


def _listening(port: int) -> set[str]:
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {
        f"socket:[{row[9]}]" for row in rows if row[3] == "0A" and int(row[1].rpartition(":")[2], 16) == port
    }


def _sockets(pid: int) -> set[str]:
    links = set()
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        try:
            links.add(os.readlink(fd))
        except FileNotFoundError:  # closed since it was listed
            continue
    return links


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return
