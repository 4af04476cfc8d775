"""Copies by pickling, and refusals that say what could not be pickled, and where in it. Standard library only."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

DEEPEST = 8


class UnpicklableError(TypeError):
    """Refused: another process could not have received it."""

    def __init__(self, what: str, reason: BaseException) -> None:
        super().__init__(what, reason)
        self.what = what
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.what} cannot be pickled: {self.reason}"


def copied(message: Any) -> Any:
    """What another process would have received."""
    try:
        return pickle.loads(pickle.dumps(message, pickle.HIGHEST_PROTOCOL))  # noqa: S301 - our own bytes
    except Exception as exc:
        raise UnpicklableError(f"a message {type(message).__name__}{_where(message)}", exc) from exc


@lru_cache(maxsize=1024)
def assert_importable(actor_class: type) -> None:
    """A process of its own finds an actor's class by its name."""
    try:
        pickle.dumps(actor_class)
    except Exception as exc:
        raise UnpicklableError(f"the actor class {actor_class.__qualname__}", exc) from exc


def _where(value: Any) -> str:
    """The path to the deepest part that is to blame, such as `.payload['callback']`."""
    path = ""
    for _ in range(DEEPEST):
        guilty = next(((step, part) for step, part in _parts(value) if not _survives(part)), None)
        if guilty is None:
            break
        step, value = guilty
        path += step
    return f", in it {path.lstrip('.')} (a {type(value).__name__})," if path else ""


def _survives(value: Any) -> bool:
    try:
        pickle.loads(pickle.dumps(value, pickle.HIGHEST_PROTOCOL))  # noqa: S301 - our own bytes
    except Exception:  # noqa: BLE001 - that is the question
        return False
    return True


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        yield from ((f"[{key!r}]", part) for key, part in value.items())
    elif isinstance(value, list | tuple | set | frozenset):
        yield from ((f"[{n}]", part) for n, part in enumerate(value))
    names = getattr(type(value), "__struct_fields__", None) or getattr(value, "__dict__", {})
    if not isinstance(value, type):
        yield from ((f".{name}", getattr(value, name)) for name in names)
