"""What a real hub tells whoever watches it: the stream of events, and figures for Prometheus."""

import asyncio
import http.client
import json
import urllib.error
import urllib.request

import pytest

from tests.conformance.client import DEADLINE_S
from tests.prometheus import parse


class Watcher:
    """One stream, read by the standard library alone."""

    def __init__(self, place, after=None):
        self.connection = http.client.HTTPConnection(place.host, place.port, timeout=DEADLINE_S)
        query = "" if after is None else f"?after={after}"
        self.connection.request(
            "GET", f"/api/events{query}", headers={"Authorization": f"Bearer {place.admin}"}
        )
        self.answer = self.connection.getresponse()
        assert self.answer.status == 200

    def event(self):
        fields = {}
        while True:
            line = self.answer.readline().decode().rstrip("\n")
            name, _, value = line.partition(": ")
            if name:
                fields[name] = value
            elif not line and "data" in fields:
                return fields["event"], json.loads(fields["data"])

    def until(self, kind, **fields):
        """The first that fits."""
        while True:
            event, data = self.event()
            if event == kind and data.items() >= fields.items():
                return data

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.connection.close()


def metrics(place, token=None):
    url = f"http://{place.host}:{place.port}/metrics"
    asked = urllib.request.Request(url, headers={"Authorization": f"Bearer {token or place.admin}"})
    with urllib.request.urlopen(asked, timeout=DEADLINE_S) as answer:
        assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
        return answer.read().decode()


async def work(place, task_id, agent_id):
    """A new agent comes, does it and goes."""
    async with await place.agent(agent_id, capabilities=["w-work"]) as agent:
        given = await agent.hear("task_assign")
        await agent.say("task_accepted", task_id=task_id)
        done = {"task_id": task_id, "generation": given["generation"], "result": {}, "tokens_used": 70}
        await agent.ask("task_complete", **done)


# --- events ----------------------------------------------------------------------------------------


def test_what_happens_is_told_in_its_order(place, play):
    async def scene():
        with Watcher(place) as seen:
            task_id = await asyncio.to_thread(place.submit, needed_capabilities=["w-work"])
            await work(place, task_id, "w-first")
            told = []
            while not told or told[-1]["event"] != "completed":
                kind, data = await asyncio.to_thread(seen.event)
                if kind == "task_event":
                    told.append(data)
            assert [one["event"] for one in told] == ["submitted", "assigned", "accepted", "completed"]
            assert {one["task_id"] for one in told} == {task_id}

    play(scene())


def test_everything_that_changes_is_told_without_a_secret(place):
    with Watcher(place) as seen:
        _, invite = place.http("POST", "/api/invites", {"capabilities": []}, place.admin)
        _, token = place.http("POST", "/api/tokens", {"subject": "w-olga", "role": "operator"}, place.admin)
        secret = place.register("w-new")
        repo = {"name": "w-repo", "url": "https://w-password@example.org/x.git"}
        assert place.http("PUT", "/api/repos/w-repo", repo, place.admin)[0] == 200
        assert place.http("PUT", "/api/repos/default", {"name": "w-repo"}, place.admin)[0] == 200
        place.http("POST", "/api/channels", {"name": "w-channel"}, place.admin)
        place.http("PUT", "/api/config/alert-thresholds", {}, place.admin)
        said = {"to": "w-new", "payload": {"text": "w-private"}}
        assert place.http("POST", "/api/message", said, place.admin)[0] < 300
        assert place.http("DELETE", f"/api/tokens/{token['token_id']}", token=place.admin)[0] == 200
        told = [
            seen.until("invite_event", name=invite["invite_id"], status="open"),
            seen.until("token_event", name=token["token_id"], subject="w-olga", status="valid"),
            seen.until("agent_event", agent_id="w-new", event="registered"),
            seen.until("repo_event", name="w-repo", event="saved"),
            seen.until("config_event", name="default_repo"),
            seen.until("channel_event", name="w-channel"),
            seen.until("config_event", name="alert-thresholds"),
            seen.until("message_event", event="sent"),
            seen.until("token_event", name=token["token_id"], status="revoked"),
        ]
    secrets = (invite["invite"], token["token"], secret, "w-password", "w-private")
    assert not [one for one in secrets if one in json.dumps(told)]
    place.http("PUT", "/api/repos/default", {"name": ""}, place.admin)


# --- figures ---------------------------------------------------------------------------------------


def test_figures_can_be_read_and_count_what_was_done(place, play):
    before = parse(metrics(place))
    task_id = place.submit(needed_capabilities=["w-work"])
    waiting = parse(metrics(place))["agentcom_tasks"].samples
    queued = (("lane", "normal"), ("phase", "queued"))
    assert waiting[queued] == before["agentcom_tasks"].samples[queued] + 1
    play(work(place, task_id, "w-second"))
    found = parse(metrics(place))

    def grew(name, **labels):
        key = tuple(labels.items())
        return found[name].samples[key] - before[name].samples[key]

    assert grew("agentcom_reports_total", outcome="completed") == 1
    assert grew("agentcom_model_tokens_total") == 70
    assert grew("agentcom_journal_seq_total") > 0
    assert found["agentcom_process_open_fds"].samples[()] > 0
    assert found["agentcom_process_rss_anon_bytes"].samples[()] > 1 << 20
    assert found["agentcom_actor_restarts_total"].samples[(("actor", "store"),)] == 0
    assert [
        name for name, metric in found.items() if (metric.kind == "counter") != name.endswith("_total")
    ] == []


def test_no_label_names_a_task_or_an_agent(place, play):
    task_id = place.submit(needed_capabilities=["w-work"])
    play(work(place, task_id, "w-worker"))
    assert not [name for name in (task_id, "w-worker", place.admin) if name in metrics(place)]


@pytest.mark.parametrize(("role", "status"), [("nobody", 401), ("agent", 403)])
def test_figures_need_an_operator(place, role, status):
    token = place.register("w-curious") if role == "agent" else "stolen"
    with pytest.raises(urllib.error.HTTPError) as refused:
        metrics(place, token)
    assert refused.value.code == status
    refused.value.close()
