"""Prometheus' text format 0.0.4, read as strictly as its description allows."""

import re
from typing import NamedTuple

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
_HELP = re.compile(rf"# HELP ({NAME}) ((?:[^\\\n]|\\\\|\\n)+)")
_TYPE = re.compile(rf"# TYPE ({NAME}) (counter|gauge)")
_LABEL = r'[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\\\|\\"|\\n)*"'
_SAMPLE = re.compile(rf"({NAME})(?:\{{({_LABEL}(?:,{_LABEL})*)\}})? (-?\d+(?:\.\d+)?(?:e[+-]?\d+)?)")
_ONE = re.compile(r'([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"')

Labels = tuple[tuple[str, str], ...]


class Metric(NamedTuple):
    kind: str
    help: str
    samples: dict[Labels, float]


def parse(text: str) -> dict[str, Metric]:
    """Each name once: HELP, TYPE, then its samples, none of them twice."""
    assert text.endswith("\n")
    found: dict[str, Metric] = {}
    name = said = ""
    for line in text.splitlines():
        if got := _HELP.fullmatch(line):
            name, said = got[1], got[2]
            assert name not in found, f"{name} twice"
        elif got := _TYPE.fullmatch(line):
            assert got[1] == name, line
            found[name] = Metric(got[2], said, {})
        else:
            got = _SAMPLE.fullmatch(line)
            assert got, line
            assert got[1] == name, line
            labels = tuple((label, _plain(value)) for label, value in _ONE.findall(got[2] or ""))
            assert labels not in found[name].samples, line
            found[name].samples[labels] = float(got[3])
    return found


def _plain(value: str) -> str:
    return re.sub(r"\\(.)", lambda m: "\n" if m[1] == "n" else m[1], value)
