"""The demo's world: one folder with a hub's data, a bare git remote, two sidecars' homes and all logs.

May import: the standard library, agentcom.{cli, client, protocol}.
"""

import asyncio
import json
import time
from collections.abc import Mapping
from pathlib import Path

import httpx

from agentcom.cli import demo_project
from agentcom.cli.demo_fleet import Ended, Fleet, free_port, python, stop_by_pid
from agentcom.cli.demo_tasks import BASE, CAPABILITIES, REPO
from agentcom.client import Hub

READY_S = 30.0
SETTINGS = (
    "tasks.backoff_base_s=0.5",
    "tasks.backoff_cap_s=2",
    "lease.heartbeat_s=2",
)
"""Shorter than in life, where nobody watches a clock."""


class Stage:
    def __init__(self, home: Path, env: Mapping[str, str]) -> None:
        self.home = home
        self.data = home / "hub"
        self.remote = home / "remote.git"
        self.logs = home / "logs"
        self.logs.mkdir(parents=True)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.fleet = Fleet(self.logs, env)

    @property
    def token_file(self) -> Path:
        return self.data / "admin.token"

    def token(self) -> str:
        return self.token_file.read_text(encoding="ascii").strip()

    def start_hub(self) -> None:
        """Returns when it serves. Raises `Ended` when it does not."""
        argv = python("-m", "agentcom.cli.main", "hub", "--data", str(self.data), "--port", str(self.port))
        sets = [part for setting in SETTINGS for part in ("--set", setting)]
        hub = self.fleet.start("hub", [*argv, "--no-keeper", *sets])
        until = time.monotonic() + READY_S
        while not self._ready():
            self.fleet.check()
            if time.monotonic() > until:
                raise Ended("hub", None, hub.log)
            time.sleep(0.05)

    def _ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/ready", timeout=2.0, trust_env=False).status_code == 200
        except httpx.HTTPError:
            return False

    async def prepare(self, hub: Hub) -> None:
        """A remote with a project in it, known to the hub, and two agents that wait for work."""
        await asyncio.to_thread(demo_project.create, self.remote)
        await hub.put_repo(name=REPO, url=str(self.remote), base_branch=BASE)
        await asyncio.gather(*(asyncio.to_thread(self._join, agent) for agent in CAPABILITIES))
        for agent in CAPABILITIES:
            self.fleet.start(agent, self.sidecar("run", agent))

    def _join(self, agent: str) -> None:
        able = [part for capability in CAPABILITIES[agent] for part in ("--capability", capability)]
        mind = " ".join(python("-m", "sidecar.scripted_mind"))
        argv = self.sidecar("join", agent, self.url, "--agent-id", agent, *able, "--mind", mind)
        self.fleet.step(f"join-{agent}", argv)

    def sidecar(self, verb: str, agent: str, *arguments: str) -> list[str]:
        return python("-m", "sidecar.cli", verb, *arguments, "--home", str(self.home / agent))

    def stop(self) -> list[str]:
        """Stop what was started here, and the Minds that outlive their sidecars; the names of what had to be killed."""
        killed = self.fleet.stop()
        for pid in self.runners():
            stop_by_pid(pid)
        return killed

    def runners(self) -> list[int]:
        """Processes that watch over a Mind. Each has its folder as an argument, which tells it from a reused pid."""
        found = []
        for record in self.home.glob("*/runs/*/*/runner.json"):
            pid = int(json.loads(record.read_bytes())["pid"])
            if str(record.parent) in _arguments(pid):
                found.append(pid)
        return found


def _arguments(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
