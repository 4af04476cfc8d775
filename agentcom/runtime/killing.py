"""Ending an actor that does not answer to ActorExitRequest. Knows actors only by their base's hook."""

from thespian.actors import Actor, ActorAddress, ActorExitRequest


def kill_actor(actor: Actor, address: ActorAddress) -> None:
    """Ends the actor at `address` and all below it without asking; its parent gets ChildActorExited.

    A base without the hook `kill` (Thespian's own) is asked politely instead.
    """
    hook = getattr(actor._myRef, "kill", None)
    if hook is None:
        actor.send(address, ActorExitRequest())
    else:
        hook(address)
