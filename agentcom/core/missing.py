"""How the hub says that something is not there: one sentence, whoever says it.

May import: agentcom.core.messages.
"""

from agentcom.core.messages import Fault

NAMED = 200
"""Characters of a name that are said again."""


def no_such(kind: str, name: str) -> str:
    """The sentence. `name` is whatever was asked for: of any length, and made of anything."""
    shown = name[:NAMED] + ("…" if len(name) > NAMED else "")
    return f"there is no {kind} {shown if shown.isprintable() else ascii(shown)}"


def missing(kind: str, name: str, path: str = "") -> Fault:
    """`not_found`, for a thing of this kind; `path` is the parameter or field that named it."""
    return Fault("not_found", no_such(kind, name), path)
