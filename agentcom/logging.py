"""Structured logs: one JSON object a line, ids as fields, secrets redacted.

Events are named `noun.verbed`. debug: each step; info: what a user did or got; warning: it went on, look at it;
error: something of ours ended or gave up. A failure is logged once, by whoever handles it.
May import: structlog.
"""

import logging as stdlib
import re
import sys
from collections.abc import MutableMapping
from typing import Any, TextIO

import structlog

_SECRET_KEY = re.compile(r"(token|secret|password|authorization|invite)$", re.IGNORECASE)
_SECRET_TEXT = re.compile(r"(?i)((?:bearer\s+|[?&](?:token|invite)=))[^\s&\"']+")
REDACTED = "[redacted]"


def redact(_logger: Any, _name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Hide what is secret by its key, and bearer tokens inside any text."""
    for key, value in event.items():
        if _SECRET_KEY.search(key):
            event[key] = REDACTED
        elif isinstance(value, str):
            event[key] = _SECRET_TEXT.sub(rf"\1{REDACTED}", value)
    return event


def configure(*, level: str = "info", format: str = "json", stream: TextIO | None = None) -> None:
    """Set up structlog and the standard library's logging for this process; call it once, first."""
    number = _number(level)
    out = stream or sys.stderr
    renderer: Any = (
        structlog.processors.JSONRenderer()
        if format == "json"
        else structlog.dev.ConsoleRenderer(colors=out.isatty())
    )
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        redact,
    ]
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(file=out),
        cache_logger_on_first_use=True,
    )
    handler = stdlib.StreamHandler(out)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(processor=renderer, foreign_pre_chain=shared))
    root = stdlib.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(number, stdlib.WARNING))


def _number(level: str) -> int:
    return stdlib.getLevelNamesMapping()[level.upper()]


def set_level(level: str) -> None:
    """From now on. Loggers that were used before remember the level they began with, and are made to look again."""
    number = _number(level)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(number))
    for module in list(sys.modules.values()):
        for thing in list(vars(module).values()) if module is not None else ():
            if isinstance(thing, structlog._config.BoundLoggerLazyProxy):
                vars(thing).pop("bind", None)
    stdlib.getLogger().setLevel(max(number, stdlib.WARNING))
