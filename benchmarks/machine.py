"""What the figures were measured on: processor, memory, disk and versions.

May import: msgspec.
"""

import os
import platform
import subprocess
import time
from importlib import metadata
from pathlib import Path

import msgspec

from benchmarks.stats import percentile

PACKAGES = ("agentcom", "litestar", "lmdb", "msgspec", "thespian", "uvicorn", "uvloop", "websockets")
BUSY = 0.5  #: above this load another program took part in the run
IN_MEMORY = frozenset({"tmpfs", "ramfs"})


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    cpu: str
    cores: int
    memory_mb: int
    kernel: str
    python: str
    packages: dict[str, str]
    filesystem: str
    fsync_ms: float  #: median of writing and syncing 4 KiB
    load_before: float  #: runnable processes on average in the minute before the run; ours were none of them


class NotOnDiskError(Exception):
    """The folder lies in memory: fsync there costs nothing, and the figures would be worth the same."""


def describe(folder: Path) -> Machine:
    """Raises NotOnDiskError."""
    filesystem = filesystem_of(folder)
    if filesystem in IN_MEMORY:
        raise NotOnDiskError(f"{folder} is on {filesystem}; choose a folder on a disk with --folder")
    return Machine(
        cpu=_cpu(),
        cores=len(os.sched_getaffinity(0)),
        memory_mb=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // (1 << 20),
        kernel=platform.release(),
        python=platform.python_version(),
        packages={name: metadata.version(name) for name in PACKAGES},
        filesystem=filesystem,
        fsync_ms=fsync_ms(folder),
        load_before=os.getloadavg()[0],
    )


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def filesystem_of(folder: Path) -> str:
    """The type of the mount that holds the folder: the one with the longest matching path."""
    mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines()]
    holding = [(len(path), kind) for path, kind in mounts if folder.resolve().is_relative_to(path)]
    return max(holding)[1]


def fsync_ms(folder: Path, times: int = 100) -> float:
    file = folder / "fsync.probe"
    durations = []
    with file.open("wb", buffering=0) as out:
        for _ in range(times):
            began = time.perf_counter()
            out.write(bytes(4096))
            os.fsync(out.fileno())
            durations.append(time.perf_counter() - began)
    file.unlink()
    return percentile(sorted(durations), 0.5) * 1e3


def commit(root: Path) -> str:
    """The checked-out commit, `+` behind it when the work tree differs from it."""
    head = _git(root, "rev-parse", "HEAD")
    return head + ("+" if _git(root, "status", "--porcelain") else "")


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else "unknown"
