"""Figures as Prometheus reads them: text format 0.0.4. Names have base units; what only grows ends in `_total`.

May import: nothing of ours.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Literal, NamedTuple

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
PREFIX = "agentcom_"

Labels = tuple[tuple[str, str], ...]


class Family(NamedTuple):
    """One name with all its samples. `name` is without the prefix, `samples` by labels."""

    name: str
    kind: Literal["counter", "gauge"]
    help: str
    samples: Mapping[Labels, float]


class Known(NamedTuple):
    """What the gateway knows by itself."""

    now_ms: int
    online: int  #: agents
    sessions: dict[str, int]  #: by protocol
    alerts: int
    parts: dict[str, dict[str, Any]]  #: what parts of the hub say of themselves in /health


def gauge(name: str, said: str, value: float) -> Family:
    return Family(name, "gauge", said, {(): value})


def counter(name: str, said: str, value: float) -> Family:
    """`name` ends in `_total`."""
    return Family(name, "counter", said, {(): value})


def by_label(
    name: str, kind: Literal["counter", "gauge"], said: str, label: str, values: Mapping[str, float]
) -> Family:
    """One sample for each value of one label."""
    return Family(name, kind, said, {((label, of),): value for of, value in values.items()})


def render(families: Iterable[Family]) -> bytes:
    """The whole answer."""
    return "".join(line for family in families for line in _lines(family)).encode()


def _lines(family: Family) -> Iterable[str]:
    name = PREFIX + family.name
    yield f"# HELP {name} {_escaped(family.help)}\n"
    yield f"# TYPE {name} {family.kind}\n"
    for labels, value in family.samples.items():
        yield f"{name}{_labels(labels)} {value!r}\n"


def _labels(labels: Labels) -> str:
    if not labels:
        return ""
    inside = ",".join(f'{name}="{_quoted(value)}"' for name, value in labels)
    return f"{{{inside}}}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def _quoted(text: str) -> str:
    return _escaped(text).replace('"', '\\"')
