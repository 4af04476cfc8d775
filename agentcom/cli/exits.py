"""Exit codes of the command-line programs, and the one way in which a command fails.

The table is docs/reference/cli.md, held to these by a test.
May import: click, msgspec.
"""

from typing import IO, Any

import click
import msgspec

OK = 0
REFUSED = 1
USAGE = 2
UNAVAILABLE = 3
TIMED_OUT = 4
NOT_COMPLETED = 5
DAMAGED = 6

MEANING = {
    OK: "done",
    REFUSED: "refused: the request is wrong or not allowed, or the program cannot start; nothing was changed",
    USAGE: "bad usage: an argument, a setting or a file named by one is not right",
    UNAVAILABLE: "the hub cannot be reached, or cannot do it now; try again later",
    TIMED_OUT: "the time to wait is over; the task goes on",
    NOT_COMPLETED: "the task ended without being completed",
    DAMAGED: "the store on this machine is damaged, or not what its journal says",
}


class Failed(click.ClickException):
    """Ends the command with one sentence on stderr (an object, with `--json`) and an exit code."""

    def __init__(self, message: str, code: int, *, error: str = "") -> None:
        super().__init__(message.encode(errors="backslashreplace").decode())  # a file's name may be any bytes
        self.exit_code = code  # type: ignore[misc]  # click reads it from the instance
        self.error = error
        self.as_json = _is_json_asked()

    def show(self, file: IO[Any] | None = None) -> None:
        if self.as_json:
            body = {"error": self.error or "failed", "message": self.message, "exit": self.exit_code}
            click.echo(msgspec.json.encode(body).decode(), err=True)
        else:
            click.echo(f"error: {self.message}", err=True)


def _is_json_asked() -> bool:
    """Of the command that runs, by the name that all of them give the option: so none can forget to pass it on."""
    context = click.get_current_context(silent=True)
    return context is not None and bool(context.params.get("as_json"))
