"""A word from an actor to itself that lets everyone else speak first. Knows actors only by their base's hook."""

from __future__ import annotations

from thespian.actors import Actor


def when_idle(actor: Actor, message: object) -> None:
    """`message` comes back to the actor once no actor has mail, or after a moment: what gathers work gathers it all.

    On a base without the hook it comes behind the mail that already waits.
    """
    hook = getattr(actor._myRef, "when_idle", None)
    if hook is None:
        actor.send(actor.myAddress, message)
    else:
        hook(message)
