"""A disk of a few megabytes, to be filled. Only root may mount one: others skip."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

MIB = 1 << 20


class SmallDisk:
    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def room(self) -> int:
        found = os.statvfs(self.path)
        return found.f_bavail * found.f_frsize

    def fill(self, leave: int = 0) -> None:
        """Others' files take all but `leave` bytes."""
        with (self.path / "others").open("ab") as file:
            while self.room > leave:
                file.write(bytes(min(MIB, self.room - leave)))
                file.flush()

    def clear(self) -> None:
        (self.path / "others").unlink()


@contextmanager
def small_disk(path: Path, mib: int) -> Iterator[SmallDisk]:
    path.mkdir(parents=True, exist_ok=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={mib}m", "tmpfs", str(path)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("only root may mount a small disk")
    try:
        yield SmallDisk(path)
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)
