"""A cable that can be pulled: two network namespaces joined by a pair of virtual devices.

The test itself goes into one of them, with all that it starts; whatever runs in the other reaches it at `HERE`, and
nothing else. Needs root and `ip`.
"""

import ctypes
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

HERE, THERE = "192.0.2.1", "192.0.2.2"  # of the block for documentation (RFC 5737): nobody's
NETWORK = 30
CLONE_NEWNET = 0x40000000


class Cable:
    def __init__(self) -> None:
        self.here, self.there = (f"agentcom{os.getpid()}{end}" for end in "ht")

    def lay(self) -> None:
        for namespace in (self.here, self.there):
            _ip("netns", "add", namespace)
        _ip(
            "-n",
            self.here,
            "link",
            "add",
            "cable",
            "type",
            "veth",
            "peer",
            "name",
            "cable",
            "netns",
            self.there,
        )
        for namespace, address in ((self.here, HERE), (self.there, THERE)):
            _ip("-n", namespace, "link", "set", "lo", "up")
            _ip("-n", namespace, "addr", "add", f"{address}/{NETWORK}", "dev", "cable")
            _ip("-n", namespace, "link", "set", "cable", "up")

    def plug(self) -> None:
        _ip("-n", self.there, "link", "set", "cable", "up")

    def pull(self) -> None:
        """Nothing arrives any more, and no connection is told."""
        _ip("-n", self.there, "link", "set", "cable", "down")

    def take_away(self) -> None:
        for namespace in (self.here, self.there):
            subprocess.run(["ip", "netns", "del", namespace], capture_output=True, check=False)

    def argv(self, *argv: str) -> list[str]:
        """That command, on the other end."""
        return ["ip", "netns", "exec", self.there, *argv]


def _ip(*args: str) -> None:
    done = subprocess.run(["ip", *args], capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(done.stderr.strip())


@contextmanager
def cable() -> Iterator[Cable]:
    laid = Cable()
    try:
        laid.lay()
    except OSError as error:
        laid.take_away()
        pytest.skip(f"only root, with `ip`, may lay a cable: {error}")
    try:
        with _inside(Path("/run/netns") / laid.here):
            yield laid
    finally:
        laid.take_away()


@contextmanager
def _inside(namespace: Path) -> Iterator[None]:
    """This thread, and the threads and processes it starts."""
    libc = ctypes.CDLL(None, use_errno=True)

    def enter(fd: int) -> None:
        if libc.setns(fd, CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")

    with Path("/proc/thread-self/ns/net").open("rb") as before, namespace.open("rb") as there:
        enter(there.fileno())
        try:
            yield
        finally:
            enter(before.fileno())
