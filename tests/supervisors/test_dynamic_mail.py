"""Mail to one dynamic child, while it sleeps, wakes, changes its mind and crashes: none is lost, none overtakes.

Played on the simulated base, whose seed chooses whose turn it is, so that a grant, a wake and a crash meet in every
order.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from thespian.actors import ActorExitRequest

from agentcom.runtime import SimSystemBase
from supervisors.messages import Restart, To, ToEach
from supervisors.root import Root
from supervisors.specs import Backoff, ChildSpec, DynamicSpec, SupervisorSpec, dynamic
from tests.supervisors.troupe import Boom, GoToSleep, Leave, Say, Script, Told, Unavailable

SENDERS = ("ann", "bob")
PAUSES = st.lists(st.integers(0, 6), min_size=40, max_size=40)
MAIL = st.tuples(st.sampled_from(SENDERS), st.just("say"))
TROUBLE = st.tuples(
    st.just(""), st.sampled_from(["sleep", "sleep", "boom", "aborted", "kill", "restart", "wait", "let go"])
)


class Post:
    """Two senders, each with a port that hears what was refused; a third hears what the child handled."""

    def __init__(self, seed: int, *, refuses_sleep: bool, crashes: int, budget: int) -> None:
        self.sim = SimSystemBase(seed)
        self.sim.max_steps = 10_000  # who keeps busy for longer never comes to rest
        self.handled: list[str] = []
        self.refused: list[str] = []
        self.started = 0
        self.audience = self.sim.open_port(self._told)
        self.ports = {name: self.sim.open_port(self._answered) for name in SENDERS}
        script = Script(self.audience.address, may_refuse_sleep=refuses_sleep, crash_on_start_until=crashes)
        template = ChildSpec(name="agent.", actor="tests.supervisors.troupe:Player", args=script)
        many = DynamicSpec(
            template=template, intensity=budget, period_s=1e6, backoff=Backoff(base_s=0.01, cap_s=0.1)
        )
        self.root = self.sim.run(Root.start(self.sim, SupervisorSpec(children=(dynamic("agents", many),))))
        self.agents = self.sim.find("agents").address

    def _told(self, msg: Any, _sender: Any) -> None:
        if isinstance(msg, Told) and msg.what == "said":
            self.handled.append(msg.detail)
        self.started += isinstance(msg, Told) and msg.what == "started"

    def _answered(self, msg: Any, _sender: Any) -> None:
        if isinstance(msg, Unavailable):
            self.refused.append(msg.text)

    def say(self, sender: str, number: int) -> None:
        port = self.ports[sender]
        port.send(self.agents, To("agent.x", Say(f"{sender} {number:03}", port.address)))

    def trouble(self, kind: str) -> None:
        by_mail: dict[str, object] = {"sleep": GoToSleep(), "boom": Boom(), "aborted": Leave("aborted")}
        if kind in by_mail:
            self.audience.send(self.agents, To("agent.x", by_mail[kind]))
        elif kind == "restart":
            self.audience.send(self.agents, Restart("agent.x"))
        elif kind == "wait":
            self.sim.advance(0.2)
        elif kind == "let go":
            self.sim.run_until_idle()
        elif found := [
            cell for cell in self.sim.dispatcher if getattr(cell.instance, "name", "") == "agent.x"
        ]:
            self.audience.send(found[0].address, ActorExitRequest())

    def go_on(self, steps: int) -> None:
        """Some of what is on its way arrives before the next thing happens."""
        for _ in range(steps):
            self.sim.step()

    def close(self) -> None:
        self.sim.advance(10.0)
        self.sim.run(self.root.stop())
        self.sim.run_until_idle()


@settings(max_examples=15)
@given(
    seed=st.integers(0, 2**32),
    pauses=PAUSES,
    steps=st.lists(st.one_of(MAIL, TROUBLE), min_size=5, max_size=30),
    refuses_sleep=st.booleans(),
    crashes=st.integers(0, 1),
    budget=st.sampled_from([1, 100]),
)
def test_mail_is_handled_or_answered_once_and_in_order_per_sender(
    seed: int,
    pauses: list[int],
    steps: list[tuple[str, str]],
    refuses_sleep: bool,
    crashes: int,
    budget: int,
) -> None:
    post = Post(seed, refuses_sleep=refuses_sleep, crashes=crashes, budget=budget)
    sent = []
    for number, (sender, what) in enumerate(steps):
        if what == "say":
            post.say(sender, number)
            sent.append(f"{sender} {number:03}")
        else:
            post.trouble(what)
        post.go_on(pauses[number])
    post.close()
    assert Counter(post.handled + post.refused) == Counter(sent)
    for sender in SENDERS:
        handled = [text for text in post.handled if text.startswith(sender)]
        assert handled == sorted(handled), "a message overtook another of its sender"


@settings(max_examples=15)
@given(
    seed=st.integers(0, 2**32),
    pauses=PAUSES,
    steps=st.lists(st.one_of(MAIL, st.just(("", "sleep")), st.just(("", "let go"))), min_size=5, max_size=40),
    refuses_sleep=st.booleans(),
)
def test_without_crashes_sleep_and_wake_refuse_nothing(
    seed: int, pauses: list[int], steps: list[tuple[str, str]], refuses_sleep: bool
) -> None:
    post = Post(seed, refuses_sleep=refuses_sleep, crashes=0, budget=0)
    for number, (sender, what) in enumerate(steps):
        if what == "say":
            post.say(sender, number)
        else:
            post.trouble(what)
        post.go_on(pauses[number])
    post.close()
    for name in SENDERS:
        expected = [f"{name} {n:03}" for n, (sender, _) in enumerate(steps) if sender == name]
        assert [text for text in post.handled if text.startswith(name)] == expected
    assert post.refused == []
    assert refuses_sleep is False or post.started <= 1


def test_mail_that_wakes_nobody_is_dropped_for_one_that_is_not_up_and_given_to_one_that_is():
    post = Post(1, refuses_sleep=False, crashes=0, budget=3)
    port = post.ports["ann"]
    port.send(post.agents, To("agent.x", Say("ann 000", port.address), wake=False))
    post.sim.advance(1.0)
    assert (post.started, post.handled, post.refused) == (0, [], [])
    post.say("ann", 1)
    post.sim.advance(1.0)
    port.send(post.agents, ToEach((To("agent.x", Say("ann 002", port.address), wake=False),)))
    post.sim.advance(1.0)
    assert post.handled == ["ann 001", "ann 002"]
