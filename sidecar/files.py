"""Small files that survive a crash whole: the old content or the new, never a part.

Only the standard library: the detached runner imports it, and must start fast and alone.
"""

import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any


def write(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Replace `path` by `content`; on disk when this returns."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(fd, "wb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())
    draft.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def write_json(path: Path, content: Any) -> None:
    write(path, json.dumps(content).encode())


def safe_name(name: str) -> str:
    """A task's id as a file name: as it is, unless it could leave its folder."""
    if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name):
        return name
    return f"x{hashlib.sha256(name.encode()).hexdigest()[:24]}"


def read_json(path: Path) -> dict[str, Any] | None:
    """The object in `path`; `None` if there is none, or what is there is no JSON object."""
    try:
        content = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    return content if isinstance(content, dict) else None
