"""The gateway's decisions about HTTP requests, with no socket and no actor."""

import json
from typing import Any

import pytest

from agentcom.core import gateway
from agentcom.core.decision import Now
from agentcom.core.gateway_state import LANE_NAMES, NEEDED_TO_SERVE, SHELL, Rules, State
from agentcom.core.messages import (
    Administer,
    Fault,
    HttpIn,
    HubStopping,
    Operate,
    Read,
    Recorded,
    Reply,
    RepoChanged,
    Submit,
)
from agentcom.core.routes import ROUTES
from agentcom.protocol.bodies import Submitted
from agentcom.protocol.rows import LANES, Idempotent, Repo, TaskState, Token
from agentcom.protocol.tokens import token_hash
from tests.core.test_gateway_sessions import Rows

NOW = Now(1_000_000, 1000.0)
ROLES = {"agent": "ada", "operator": "olga", "admin": "ann"}


class Stage:
    def __init__(self, rules: Rules | None = None) -> None:
        self.rows = Rows(
            {("token", (token_hash(role),)): Token(role, who, role, 1) for role, who in ROLES.items()}
        )
        self.rows["repo", ("demo",)] = Repo("demo", "https://example.org/demo.git")
        self.state = State(rules or Rules(), "me")
        for name in NEEDED_TO_SERVE:
            gateway.on_up(self.state, name, self.rows)

    def tell(self, message: Any) -> list[Any]:
        return gateway.decide(self.state, message, NOW, self.rows)

    def ask(self, route: str, *, token: str = "operator", body: Any = None, **args: str) -> Any:
        """The one output of a request: (to, message)."""
        data = b"" if body is None else json.dumps(body).encode()
        ask = HttpIn(
            reply_to="edge", request=7, route=route, args=args, token=token, body=data, peer="127.0.0.1"
        )
        [(to, message)] = [output for output in self.tell(ask) if not isinstance(output.message, Recorded)]
        return to, message

    def fault(self, route: str, **kw: Any) -> Fault:
        to, reply = self.ask(route, **kw)
        assert (to, type(reply), reply.request) == ("edge", Reply, 7)
        assert isinstance(reply.body, Fault), reply.body
        return reply.body


def a_task(**fields: Any) -> TaskState:
    return TaskState("t-1", "high", "queued", 1, "0" * 16, 1, 1, **({"submitter": "olga"} | fields))


@pytest.mark.parametrize("lane", LANES)
def test_a_submit_goes_to_its_lane_and_is_answered_straight_to_the_edge(lane):
    to, submit = Stage().ask("task.submit", token="agent", body={"description": "x", "priority": lane})
    assert to == f"lane.{lane}"
    assert (submit.reply_to, submit.request, submit.submitter) == ("edge", 7, "ada")


def test_the_older_name_of_max_attempts_means_the_same():
    _, submit = Stage().ask("task.submit", body={"description": "x", "max_retries": 5})
    assert (submit.items[0].max_attempts, submit.items[0].max_retries) == (5, None)


def test_a_repeated_key_passes_although_deadline_and_repo_have_gone():
    stage = Stage()
    body = {"description": "x", "idempotency_key": "k", "complete_by": 1, "repo": "gone"}
    assert stage.fault("task.submit", body=body).path == "complete_by"
    stage.rows["idempotency", ("olga", "k")] = Idempotent("t-1", "d", 1)
    assert stage.ask("task.submit", body=body)[0] == "lane.normal"


def test_a_start_after_the_deadline_is_refused_for_what_it_is():
    fault = Stage().fault(
        "task.submit", body={"description": "x", "not_before": 3_000_000, "complete_by": 2_000_000}
    )
    assert (fault.path, fault.message) == ("not_before", "it would not start before its deadline")


def test_a_description_of_blanks_is_none():
    stage = Stage()
    body = {"description": " \t\n\u2003", "idempotency_key": "k"}
    assert stage.fault("task.submit", body=body).path == "description"
    stage.rows["idempotency", ("olga", "k")] = Idempotent("t-1", "d", 1)
    assert stage.ask("task.submit", body=body)[0] == "lane.normal"


def test_header_and_body_with_different_keys_are_refused():
    body = {"description": "x", "idempotency_key": "k"}
    assert Stage().fault("task.submit", body=body, **{"idempotency-key": "other"}).path == "idempotency_key"


def test_the_default_repo_is_put_in_until_the_directory_says_otherwise():
    stage = Stage()
    stage.rows["config", ("default_repo",)] = "demo"
    assert stage.ask("task.submit", body={"description": "x"})[1].items[0].repo == "demo"
    stage.rows["config", ("default_repo",)] = "other"
    assert stage.tell(RepoChanged("other")) == []
    assert stage.ask("task.submit", body={"description": "x"})[1].items[0].repo == "other"


@pytest.mark.parametrize(
    "text", ["demo", " demo/ ", "https://example.org/demo", "https://example.org/demo.git/"]
)
def test_a_repo_is_known_by_name_and_by_url(text):
    assert Stage().ask("task.submit", body={"description": "x", "repo": text})[1].items[0].repo == "demo"


def batch_of(stage: Stage, *lanes: str, **args: str) -> list[Any]:
    body = json.dumps({"tasks": [{"description": lane, "priority": lane} for lane in lanes]}).encode()
    return stage.tell(
        HttpIn(
            reply_to="edge",
            request=7,
            route="task.batch",
            args=args,
            token="agent",
            body=body,
            peer="127.0.0.1",
        )
    )


def test_a_batch_is_one_submit_a_lane_and_answered_in_the_order_of_the_request():
    stage = Stage()
    outputs = batch_of(stage, "low", "high", "low")
    assert [(to, len(submit.items)) for to, submit in outputs] == [("lane.low", 2), ("lane.high", 1)]
    low, high = (submit.request for _, submit in outputs)
    done = [Submitted(task_id=str(n), status="queued", priority=0, created_at=1) for n in range(3)]
    assert stage.tell(Reply(high, [done[1]])) == []
    [(to, reply)] = stage.tell(Reply(low, [done[0], done[2]]))
    assert (to, reply.request, reply.body.tasks) == ("edge", 7, done)


def test_in_a_batch_only_the_lane_that_went_down_is_unavailable():
    stage = Stage()
    (_, low), (_, high) = batch_of(stage, "low", "high")
    stage.tell(Reply(high.request, [Submitted(task_id="t", status="queued", priority=1, created_at=1)]))
    [(_, reply)] = gateway.on_down(stage.state, "lane.low")
    assert [getattr(entry, "error", "ok") for entry in reply.body.tasks] == ["unavailable", "ok"]
    assert stage.tell(Reply(low.request, [])) == []


def test_the_header_key_of_a_batch_names_each_item_by_its_place():
    (_, low), (_, high) = batch_of(Stage(), "low", "high", **{"idempotency-key": "k"})
    assert [s.items[0].idempotency_key for s in (low, high)] == ["k.0", "k.1"]


@pytest.mark.parametrize("name", sorted(name for name, route in ROUTES.items() if route.roles))
def test_no_guarded_route_answers_without_a_token_or_to_a_lesser_role(name):
    stage = Stage(Rules(compat_v1=False))
    args = {"task_id": "t-1", "agent_id": "ada", "name": "x", "token_id": "x", "pr_id": "x"}
    assert stage.fault(name, token="", **args).code == "invalid_token"
    assert stage.fault(name, token="wrong", **args).code == "invalid_token"
    for role in set(ROLES) - ROUTES[name].roles:
        assert stage.fault(name, token=role, **args).code == "forbidden"


def test_an_agent_sees_its_own_tasks_and_with_the_old_rules_all():
    strict, compat = Stage(Rules(compat_v1=False)), Stage()
    for fields in ({"submitter": "ada"}, {"holder": "ada"}, {"last_holder": "ada"}):
        strict.rows["task", ("t-1",)] = a_task(**fields)
        assert strict.ask("task.get", token="agent", task_id="t-1")[0] == SHELL
    strict.rows["task", ("t-1",)] = compat.rows["task", ("t-1",)] = a_task()
    assert strict.fault("task.get", token="agent", task_id="t-1").code == "forbidden"
    assert compat.ask("task.get", token="agent", task_id="t-1")[0] == SHELL
    assert compat.fault("task.events", token="agent", task_id="t-1").code == "forbidden"


def test_an_operators_verb_goes_to_the_lane_in_the_row():
    stage = Stage()
    stage.rows["task", ("t-1",)] = a_task()
    to, operate = stage.ask("task.prioritise", task_id="t-1", body={"priority": "urgent"})
    assert (to, type(operate), operate.verb, operate.lane, operate.by) == (
        "lane.high", Operate, "prioritise", "urgent", "olga",
    )  # fmt: skip


def test_reads_go_to_the_shell_and_writes_of_the_directory_to_the_directory():
    stage = Stage()
    to, read = stage.ask("task.list", limit="5")
    assert (to, type(read), read.query.limit) == (SHELL, Read, 5)
    to, ask = stage.ask("invite.create", token="admin", body={})
    assert (to, type(ask), ask.verb, ask.by, ask.role) == (
        "directory",
        Administer,
        "invite.create",
        "ann",
        "admin",
    )


def test_a_stopping_hub_takes_no_submit_but_answers_reads():
    stage = Stage()
    stage.tell(HubStopping())
    assert stage.fault("task.submit", body={"description": "x"}).code == "unavailable"
    assert stage.fault("task.batch", body={"tasks": [{"description": "x"}]}).code == "unavailable"
    assert stage.ask("task.list")[0] == SHELL
    assert stage.ask("ready", token="")[1].status == 503


@pytest.mark.parametrize("name", NEEDED_TO_SERVE)
def test_the_hub_is_ready_only_while_every_part_is_up(name):
    stage = Stage()
    assert stage.ask("ready", token="")[1].status == 200
    gateway.on_down(stage.state, name)
    reply = stage.ask("ready", token="")[1]
    assert (reply.status, reply.body.missing) == (503, [name])


def test_a_submit_asks_for_what_cannot_be_answered_by_its_own_message():
    _, submit = Stage().ask("task.submit", body={"description": "x"})
    assert isinstance(submit, Submit)
    assert submit.unavailable().body.code == "unavailable"
    assert set(LANE_NAMES) == set(LANES)


@pytest.mark.parametrize(
    ("name", "same_as"), [("store.verify", "verify.run"), ("store.compact", "compaction.run")]
)
def test_the_stores_routes_ask_the_same_under_their_other_names(name, same_as):
    stage = Stage()
    assert stage.fault(name).code == "forbidden"
    to, ask = stage.ask(name, token="admin")
    assert (to, ask.verb) == (ROUTES[same_as].actor, same_as)
    assert ROUTES[name].roles == ROUTES[same_as].roles
