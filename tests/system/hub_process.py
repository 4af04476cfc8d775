"""A real hub in a process of its own, to be killed, crashed and started again on the same folder and port."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from agentcom.client import Hub

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = {
    "runtime.strict": "true",
    "chaos.enabled": "true",
    "hub.keeper": "off",  # or the end of a hub that should not end goes unseen
    "lease.reconnect_jitter_s": "0.1",
    "lease.heartbeat_s": "1",
    "tasks.backoff_base_s": "0.2",
    "tasks.backoff_cap_s": "1",
}
READY_S = 60.0


def clean_env() -> dict[str, str]:
    """Without the user's own settings for AgentCom and git."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("AGENTCOM_", "GIT_"))}
    return {
        **kept,
        "PYTHONPATH": str(ROOT),
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
    }


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def hub_argv(data: Path, port: int, settings: Mapping[str, str]) -> list[str]:
    sets = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    return [
        sys.executable, "-m", "agentcom.cli.main", "hub", "--data", str(data), "--port", str(port), *sets
    ]  # fmt: skip


class HubProcess:
    """`start` and `kill` as often as a test likes; one log for all lives."""

    env: Mapping[str, str] = {}  #: beside `clean_env`

    def __init__(self, folder: Path, **settings: str) -> None:
        self.data = folder / "hub"
        self.log = folder / "hub.log"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.settings = {**SETTINGS, **{k.replace("__", "."): v for k, v in settings.items()}}
        self.start()

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.child = subprocess.Popen(
                hub_argv(self.data, self.port, self.settings),
                cwd=self.log.parent,
                env={**clean_env(), **self.env},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def serving_pid(self) -> int:
        """Of a hub that serves: a keeper, if there is one, is `child`."""
        return int((self.data / "hub.lock").read_text())

    def kill(self) -> None:
        """kill -9 of its whole group: a supervising parent would only start it again."""
        if self.child.poll() is None:
            os.killpg(self.child.pid, signal.SIGKILL)
        self.child.wait()

    def terminate(self) -> None:
        self.child.send_signal(signal.SIGTERM)

    async def ended(self, deadline_s: float = 60.0) -> int:
        return await asyncio.to_thread(self.child.wait, deadline_s)

    async def serving(self) -> None:
        """Until it answers that it serves; at once when the process is gone."""
        async with Hub(self.url) as hub, asyncio.timeout(READY_S):
            while not await hub.ready():
                assert self.child.poll() is None, f"the hub ended with {self.child.returncode}"
                await asyncio.sleep(0.02)

    @asynccontextmanager
    async def admin(self, retry_s: float = 60.0) -> AsyncIterator[Hub]:
        await self.serving()
        token = (self.data / "admin.token").read_text().strip()
        async with Hub(self.url, token, retry_s=retry_s) as hub:
            yield hub

    def told(self) -> list[dict[str, Any]]:
        """The log's lines that are JSON; a killed hub may leave half of one."""
        lines = self.log.read_text(errors="replace").splitlines()
        return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]

    def complaints(self, *allowed: str) -> list[dict[str, Any]]:
        """What the log calls an error, but for events and reasons that the test causes."""
        bad = [line for line in self.told() if line.get("level") in ("error", "critical")]
        return [line for line in bad if not any(word in json.dumps(line) for word in allowed)]
