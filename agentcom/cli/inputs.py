"""What people and shells hand to a command, checked before anything is done with it.

A command line carries any bytes: those that are not UTF-8 arrive as lone surrogates, which nothing can send.
May import: click, msgspec, agentcom.cli.exits.
"""

import math
import sys
from collections.abc import Iterator, Mapping
from typing import IO, Any, TypeVar

import click
import msgspec

from agentcom.cli import exits

T = TypeVar("T")

MOST_CHARACTERS = 4_096
"""Of a name or a sentence; a text that is the very work has the hub's own limit."""


class Finite(click.FloatRange):
    """A number within its range; `nan` is within none, and nothing ends after `inf`."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = float(super().convert(value, param, ctx))
        return number if math.isfinite(number) else self.fail(f"{value} is not a finite number.", param, ctx)


def check_texts(ctx: click.Context, arguments: Mapping[str, Any]) -> None:
    """Raises `click.BadParameter`, which names the first one that cannot be sent."""
    for param in ctx.command.params:
        for text in _texts(arguments.get(param.name or "")):
            if problem := _problem(param, text):
                raise click.BadParameter(problem, ctx, param)


def _texts(value: object) -> Iterator[str]:
    for each in value if isinstance(value, tuple) else (value,):
        if isinstance(each, str):
            yield each


def _problem(param: click.Parameter, text: str) -> str:
    if not is_text(text):
        return "it is not UTF-8 text."
    if len(text) > MOST_CHARACTERS and param.name != "text":
        return f"it has {len(text):,} characters; expected at most {MOST_CHARACTERS:,}."
    if not text and isinstance(param, click.Argument) and param.required:
        return "it is empty."
    return ""


def is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def from_stdin() -> str:
    """All of it, without the white space around it. Raises `Failed` for what is not UTF-8, whatever the locale."""
    try:
        return sys.stdin.buffer.read().decode().strip()
    except UnicodeDecodeError as exc:
        raise exits.Failed(f"what stdin says is not UTF-8 text: {exc}", exits.USAGE) from exc


def lines_of(file: IO[str]) -> list[str]:
    """Raises `Failed` for what is not UTF-8."""
    try:
        return list(file)
    except UnicodeDecodeError as exc:
        raise exits.Failed(f"--file {file.name} is not UTF-8 text: {exc}", exits.USAGE) from exc


def converted(fields: Mapping[str, Any], into: type[T], where: str = "") -> T:
    """By the hub's own rules, so that a slip costs no round trip. Raises `Failed` with the field's name."""
    try:
        return msgspec.convert(fields, into)
    except msgspec.ValidationError as exc:
        raise exits.Failed(f"{where}{str(exc).replace('`$.', '`')}", exits.USAGE) from exc
