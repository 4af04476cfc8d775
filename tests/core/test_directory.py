"""The directory's decisions: what is written, what is told, in which order."""

from typing import Any

import pytest

from agentcom.core.directory import decide
from agentcom.core.directory_tokens import BOOTSTRAP
from agentcom.core.messages import (
    Administer,
    Condition,
    Fault,
    PauseChanged,
    Reply,
    RepoChanged,
    SubjectRevoked,
)
from agentcom.protocol.bodies import NewInvite, NewRepo, NewToken, Register
from agentcom.protocol.ops import Delete, Put
from agentcom.protocol.pauses import every_pause, paused_lanes, why_not
from agentcom.protocol.rows import Invite, Token
from agentcom.protocol.tokens import token_hash


class Rows:
    """A writer's view over a dict."""

    def __init__(self) -> None:
        self.rows: dict[Any, Any] = {}

    def get(self, table: str, key: Any) -> Any:
        return self.rows.get((table, key))

    def scan(self, table: str, prefix: Any, *, after: Any = None, limit: int, reverse: bool = False) -> Any:
        keys = sorted(key for name, key in self.rows if name == table and (after is None or key > after))
        return [(key, self.rows[table, key]) for key in keys[:limit]]


class Stage:
    def __init__(self) -> None:
        self.rows, self.minted, self.now_ms = Rows(), 0, 1_000_000

    def secret(self) -> str:
        self.minted += 1
        return f"secret-{self.minted}"

    def ask(
        self, verb: str, body: Any = None, *, local: bool = True, role: str = "", **args: str
    ) -> tuple[Any, list[Any]]:
        """The answer, and what others are told before it; ops are applied."""
        msg = Administer(
            reply_to="edge",
            request=1,
            verb=verb,
            by="x",
            role=role,
            args=args,
            body=body,
            peer_is_loopback=local,
        )
        decision = decide(msg, self.now_ms, self.rows, self, "loopback")
        for op in decision.ops:
            if isinstance(op, Put):
                self.rows.rows[op.table, op.key] = op.row
            elif isinstance(op, Delete):
                self.rows.rows.pop((op.table, op.key), None)
        *told, (to, reply) = decision.outputs
        assert (to, type(reply)) == ("edge", Reply)
        return reply.body, [tuple(output) for output in told]


def test_no_row_holds_a_secret():
    stage = Stage()
    stage.ask("agent.register", Register(agent_id="ada"))
    stage.ask("invite.create", NewInvite())
    stage.ask("token.create", NewToken(subject="bob", role="operator"))
    stage.ask("bootstrap")
    assert stage.minted == 4
    assert "secret-" not in repr(stage.rows.rows)
    assert ("token", (token_hash("secret-1"),)) in stage.rows.rows


def test_a_new_bootstrap_token_voids_the_one_before_and_no_other():
    stage = Stage()
    stage.ask("token.create", NewToken(subject="ann", role="admin"))
    first, _ = stage.ask("bootstrap")
    second, told = stage.ask("bootstrap")
    assert told == [("gateway", SubjectRevoked(token_hash(first.token)))]
    live = {
        row.subject for (table, _), row in stage.rows.rows.items() if table == "token" and not row.revoked_ms
    }
    assert live == {"ann", BOOTSTRAP}
    assert stage.rows.get("token", (token_hash(second.token),)).role == "admin"


def test_nobody_else_gets_a_token_of_the_hubs_own_subject():
    assert Stage().ask("token.create", NewToken(subject=BOOTSTRAP, role="admin"))[0].code == "conflict"


def test_an_expired_invite_lets_nobody_in_and_stays_unused():
    stage = Stage()
    invite, _ = stage.ask("invite.create", NewInvite(expires_s=60))
    stage.now_ms += 60_000
    refused, _ = stage.ask("agent.register", Register(agent_id="ada", invite=invite.invite), local=False)
    assert isinstance(refused, Fault)
    row: Invite = stage.rows.get("invite", (token_hash(invite.invite),))
    assert row.used_by == ""


def test_an_agent_whose_tokens_were_revoked_may_register_again():
    stage = Stage()
    first, _ = stage.ask("agent.register", Register(agent_id="ada"))
    again, _ = stage.ask("agent.register", Register(agent_id="ada"))
    assert again.code == "conflict"
    token: Token = stage.rows.get("token", (token_hash(first.token),))
    stage.ask("token.delete", token_id=token.token_id)
    assert stage.ask("agent.register", Register(agent_id="ada"))[0].agent_id == "ada"


def test_lanes_and_gateway_hear_of_a_repo_before_the_asker_does():
    stage = Stage()
    _, told = stage.ask("repo.create", NewRepo(name="demo", url="u"))
    assert {to for to, _ in told} == {"lane.urgent", "lane.high", "lane.normal", "lane.low", "gateway"}
    assert {message for _, message in told} == {RepoChanged("demo")}


def test_removing_the_default_repo_leaves_no_default():
    stage = Stage()
    stage.ask("repo.create", NewRepo(name="demo", url="u"))
    stage.rows.rows["config", ("default_repo",)] = "demo"
    stage.ask("repo.delete", name="demo")
    assert stage.rows.get("config", ("default_repo",)) is None


def test_the_same_repo_again_writes_nothing():
    stage = Stage()
    stage.ask("repo.put", NewRepo(name="demo", url="u"), name="demo")
    view, told = stage.ask("repo.put", NewRepo(name="demo", url="u"), name="demo")
    assert (view.name, told) == ("demo", [])


# --- pauses ----------------------------------------------------------------------------------------


def acts(stage: Stage) -> list[tuple[str, str]]:
    return [(row.act, row.target) for (table, _), row in stage.rows.rows.items() if table == "audit"]


def test_a_paused_lane_and_health_hear_of_it_and_it_is_recorded():
    stage = Stage()
    answer, told = stage.ask("lane.pause", lane="high")
    assert answer.status == "paused"
    [(lane, news), (gateway, said)] = told
    assert (lane, news, gateway) == ("lane.high", PauseChanged(), "gateway")
    assert (said.name, said.facts["lanes"], len(said.alerts)) == ("pauses", ["high"], 1)
    assert paused_lanes(stage.rows) == ["high"]
    assert acts(stage) == [("lane.pause", "high")]
    _, told = stage.ask("lane.resume", lane="high")
    assert told[-1] == ("gateway", Condition("pauses", {}))
    assert paused_lanes(stage.rows) == []


@pytest.mark.parametrize(
    ("verb", "args"),
    [
        ("lane.pause", {"lane": "low"}),
        ("lane.resume", {"lane": "low"}),
        ("agent.pause", {"agent_id": "ada"}),
        ("hub.drain", {}),
        ("hub.resume", {}),
    ],
)
def test_the_same_again_is_answered_alike_and_changes_nothing(verb, args):
    stage = Stage()
    stage.ask("agent.register", Register(agent_id="ada"))
    first, _ = stage.ask(verb, **args)
    before = dict(stage.rows.rows)
    again, told = stage.ask(verb, **args)
    assert (again, stage.rows.rows) == (first, before)
    assert all(type(message) is PauseChanged for _, message in told)


def test_a_drained_hub_pauses_every_lane_and_its_end_leaves_the_pauses_of_lanes():
    stage = Stage()
    stage.ask("lane.pause", lane="high")
    _, told = stage.ask("hub.drain")
    assert [to for to, _ in told] == ["lane.urgent", "lane.high", "lane.normal", "lane.low", "gateway"]
    assert why_not(stage.rows, "low") == "the hub is drained"
    stage.ask("hub.resume")
    assert paused_lanes(stage.rows) == ["high"]
    assert why_not(stage.rows, "high") == "lane high is paused"


def test_pauses_are_read_back_as_they_were_written_and_nothing_else_of_config_is():
    stage = Stage()
    stage.ask("agent.register", Register(agent_id="a.b_c"))
    for verb, args in (
        ("agent.pause", {"agent_id": "a.b_c"}),
        ("lane.pause", {"lane": "low"}),
        ("hub.drain", {}),
    ):
        stage.ask(verb, **args)
    for name in ("default_repo", "limits/ada", "paused", "pausedness"):
        stage.rows.rows["config", (name,)] = "x"
    assert {of[:3] for of in every_pause(stage.rows)} == {
        ("agent", "a.b_c", "x"),
        ("lane", "low", "x"),
        ("hub", "", "x"),
    }


def test_draining_an_agent_is_no_row_but_its_own_record():
    stage = Stage()
    stage.ask("agent.register", Register(agent_id="ada"))
    _, told = stage.ask("agent.drain", agent_id="ada")
    assert told == [("agents/agent.ada", PauseChanged(drained=True))]
    _, told = stage.ask("agent.resume", agent_id="ada")
    assert told == [("agents/agent.ada", PauseChanged(drained=False))]
    assert list(every_pause(stage.rows)) == []
    assert acts(stage)[-2:] == [("agent.drain", "ada"), ("agent.resume", "ada")]


@pytest.mark.parametrize("verb", ["pause", "resume", "drain"])
@pytest.mark.parametrize("name", ["eve", "", "../ada", "a\x00b", "x" * 600, "ADA"])
def test_an_agent_or_lane_that_is_not_known_is_not_found_and_leaves_no_trace(verb, name):
    stage = Stage()
    kinds = ("agent",) if verb == "drain" else ("agent", "lane")
    for kind in kinds:
        refused, told = stage.ask(f"{kind}.{verb}", lane=name, agent_id=name)
        assert (refused.code, told, stage.rows.rows) == ("not_found", [], {})
