"""Protocol 1's frames, one by one, as the older hub's clients send and expect them."""

import asyncio
import json

import pytest


def test_identify_is_answered_with_the_agent_and_no_subprotocol(place, play):
    async def scene():
        token = place.register("t-ident")
        async with await place.connect() as old:
            assert old.ws.subprotocol is None
            answer = await old.ask(
                "identify",
                agent_id="t-ident",
                token=token,
                name="Ident",
                status="here",
                capabilities=["c-ident"],
                client_type="sidecar",
                protocol_version=1,
            )
            assert answer == {"type": "identified", "agent_id": "t-ident"}
            [me] = [a for a in (await old.ask("list_agents"))["agents"] if a["agent_id"] == "t-ident"]
            assert me.pop("connected_at") > 1_600_000_000_000
            assert me == {
                "agent_id": "t-ident",
                "name": "Ident",
                "status": "here",
                "capabilities": ["c-ident"],
            }

    play(scene())


def test_name_and_status_have_defaults(place, play):
    async def scene():
        async with await place.agent("t-default") as old:
            [me] = [a for a in (await old.ask("list_agents"))["agents"] if a["agent_id"] == "t-default"]
            assert (me["name"], me["status"], me["capabilities"]) == ("t-default", "connected", [])

    play(scene())


def test_a_wrong_identify_is_told_why_and_may_try_again_on_the_same_socket(place, play):
    async def scene():
        mine, other = place.register("t-wrong"), place.register("t-other")
        async with await place.connect() as old:
            error = await old.ask("identify", agent_id="t-wrong", token="nonsense")
            assert (error["type"], error["error"]) == ("error", "invalid_token")
            error = await old.ask("identify", agent_id="t-wrong", token=other)
            assert (error["type"], error["error"]) == ("error", "token_agent_mismatch")
            assert (await old.ask("identify", agent_id="t-wrong", token=mine))["type"] == "identified"

    play(scene())


def test_any_valid_frame_before_identify_is_not_identified(place, play):
    async def scene():
        async with await place.connect() as old:
            for kind, fields in (("ping", {}), ("list_agents", {}), ("task_accepted", {"task_id": "t"})):
                error = await old.ask(kind, **fields)
                assert (error["type"], error["error"]) == ("error", "not_identified")

    play(scene())


def test_a_client_need_not_wait_for_identified(place, play):
    async def scene():
        token = place.register("t-eager")
        async with await place.connect() as old:
            await old.say("identify", agent_id="t-eager", token=token)
            await old.say("status", status="eager")
            await old.say("list_agents")
            assert (await old.hear())["type"] == "identified"
            assert {(await old.hear())["type"] for _ in range(2)} == {"status_updated", "agents"}

    play(scene())


def test_identify_again_on_the_same_socket_updates_the_agent(place, play):
    async def scene():
        async with await place.agent("t-again") as old:
            again = {"agent_id": "t-again", "token": old.token, "status": "two", "capabilities": ["x"]}
            assert (await old.ask("identify", **again))["type"] == "identified"
            await old.quiet()
            [me] = [a for a in (await old.ask("list_agents"))["agents"] if a["agent_id"] == "t-again"]
            assert (me["status"], me["capabilities"]) == ("two", ["x"])

    play(scene())


def test_a_socket_may_go_on_as_another_agent(place, play):
    async def scene():
        async with await place.agent("t-one") as old:
            other = place.register("t-two")
            answer = await old.ask("identify", agent_id="t-two", token=other)
            assert answer == {"type": "identified", "agent_id": "t-two"}
            await old.quiet()
            names = [a["agent_id"] for a in (await old.ask("list_agents"))["agents"]]
            assert "t-two" in names
            assert "t-one" not in names

    play(scene())


def test_ping_and_status(place, play):
    async def scene():
        async with await place.agent("t-ping") as old:
            pong = await old.ask("ping")
            assert pong["type"] == "pong"
            assert pong["timestamp"] > 1_600_000_000_000
            assert await old.ask("status", status="thinking") == {"type": "status_updated"}

    play(scene())


async def given(place, old, needs, **fields):
    task_id = place.submit(needed_capabilities=[needs], **fields)
    frame = await old.hear("task_assign")
    assert frame["task_id"] == task_id
    return task_id, frame["generation"]


def test_an_assignment_has_the_old_fields(place, play):
    async def scene():
        async with await place.agent("t-assign", capabilities=["c-assign"]) as old:
            task_id = place.submit(
                needed_capabilities=["c-assign"], description="a", metadata={"k": [1]}, priority="high"
            )
            frame = await old.hear("task_assign")
            assert frame.pop("assigned_at") > 1_600_000_000_000
            assert frame == {
                "type": "task_assign", "task_id": task_id, "description": "a", "metadata": {"k": [1]}, "generation": 1,
            }  # fmt: skip

    play(scene())


def test_accept_progress_and_complete(place, play):
    async def scene():
        async with await place.agent("t-life", capabilities=["c-life"]) as old:
            task_id, generation = await given(place, old, "c-life")
            ack = await old.ask("task_accepted", task_id=task_id)
            assert ack == {"type": "task_ack", "task_id": task_id, "status": "accepted"}
            await old.say("task_progress", task_id=task_id, progress=30)
            await old.say("task_progress", task_id=task_id, progress=3_000, execution_event={"any": "thing"})
            await old.quiet()
            result = {"status": "success", "output": "o", "pr_url": "http://pr", "tokens_used": 7}
            ack = await old.ask("task_complete", task_id=task_id, generation=generation, result=result)
            assert ack == {"type": "task_ack", "task_id": task_id, "status": "complete"}
            task = place.task(task_id, old.token)
            assert (task["status"], task["tokens_used"]) == ("completed", 7)
            assert task["result"]["output"] == "o"
            assert task["result"]["pr_url"] == "http://pr"

    play(scene())


def test_tokens_of_the_frame_count_before_those_of_the_result(place, play):
    async def scene():
        async with await place.agent("t-tokens", capabilities=["c-tokens"]) as old:
            task_id, generation = await given(place, old, "c-tokens")
            fields = {"generation": generation, "result": {"tokens_used": 1}, "tokens_used": 9}
            assert (await old.ask("task_complete", task_id=task_id, **fields))["status"] == "complete"
            assert place.task(task_id)["tokens_used"] == 9

    play(scene())


def test_a_failure_is_retried_until_the_attempts_are_used_up(place, play):
    async def scene():
        async with await place.agent("t-fail", capabilities=["c-fail"]) as old:
            task_id, generation = await given(place, old, "c-fail", max_retries=2)
            await old.ask("task_accepted", task_id=task_id)
            ack = await old.ask("task_failed", task_id=task_id, generation=generation, reason="no luck")
            assert ack == {"type": "task_ack", "task_id": task_id, "status": "retried"}
            second = (await old.hear("task_assign"))["generation"]
            assert second > generation
            ack = await old.ask("task_failed", task_id=task_id, generation=second, error="again")
            assert ack["status"] == "dead_letter"
            task = place.task(task_id, old.token)
            assert (task["status"], task["last_error"], task["retry_count"]) == ("dead_letter", "again", 2)

    play(scene())


@pytest.mark.parametrize(
    ("kind", "name"), [("task_complete", "task_complete_failed"), ("task_failed", "task_fail_failed")]
)
def test_a_report_that_does_not_count_says_why(place, play, kind, name):
    async def scene():
        agent = f"t-{kind.replace('_', '-')}"
        async with await place.agent(agent, capabilities=[agent]) as old:
            task_id, generation = await given(place, old, agent)
            error = await old.ask(kind, task_id=task_id, generation=generation + 1)
            assert (error["type"], error["error"]) == ("error", f"{name}: stale_generation")
            assert error["task_id"] == task_id  # the older hub left the client guessing
            for unknown in ("task-0000000000000000", "no such/id", "x" * 300, ""):
                error = await old.ask(kind, task_id=unknown, generation=1)
                assert error["error"] == f"{name}: not_found"
            for odd in (-1, 2**70):
                error = await old.ask(kind, task_id=task_id, generation=odd)
                assert error["error"] == f"{name}: stale_generation"

    play(scene())


def test_a_report_after_the_end_is_the_same_again_or_an_invalid_state(place, play):
    async def scene():
        async with await place.agent("t-twice", capabilities=["c-twice"]) as old:
            task_id, generation = await given(place, old, "c-twice")
            done = {"task_id": task_id, "generation": generation}
            assert (await old.ask("task_complete", **done, result={"a": 1}))["status"] == "complete"
            assert (await old.ask("task_complete", **done, result={"a": 1}))["status"] == "complete"
            error = await old.ask("task_complete", **done, result={"a": 2})
            assert error["error"] == "task_complete_failed: invalid_state"
            error = await old.ask("task_failed", **done, reason="no")
            assert error["error"] == "task_fail_failed: invalid_state"
            assert place.task(task_id, old.token)["result"] == {"a": 1, "data": {"a": 1}}

    play(scene())


def test_a_rejected_task_is_requeued_at_once(place, play):
    async def scene():
        async with await place.agent("t-reject", capabilities=["c-reject"]) as old:
            task_id, generation = await given(place, old, "c-reject")
            async with await place.agent("t-taker", capabilities=["c-reject"]) as taker:
                ack = await old.ask("task_rejected", task_id=task_id, reason="busy")
                assert ack == {"type": "task_ack", "task_id": task_id, "status": "requeued"}
                frame = await taker.hear("task_assign")
                assert frame["task_id"] == task_id
                assert frame["generation"] > generation
                assert place.task(task_id)["retry_count"] == 0

    play(scene())


def test_a_task_goes_on_for_who_recovers_it_after_a_reconnect(place, play):
    async def scene():
        old = await place.agent("t-recover", capabilities=["c-recover"])
        task_id, generation = await given(place, old, "c-recover")
        await old.ask("task_accepted", task_id=task_id)
        await old.ws.close()
        async with await place.agent("t-recover", old.token, capabilities=["c-recover"]) as new:
            more = {"description": "d", "metadata": {}, "last_status": "working"}
            answer = await new.ask("task_recovering", task_id=task_id, **more)
            assert answer == {"type": "task_continue", "task_id": task_id, "generation": generation}
            ack = await new.ask("task_complete", task_id=task_id, generation=generation)
            assert ack["status"] == "complete"

    play(scene())


def test_a_recovered_task_needs_no_second_accept(place, play):
    async def scene():
        old = await place.agent("t-regain", capabilities=["c-regain"])
        task_id, _ = await given(place, old, "c-regain")  # not accepted
        await old.ws.close()
        async with await place.agent("t-regain", old.token, capabilities=["c-regain"]) as new:
            await new.hear("task_assign")  # it may never have arrived
            assert (await new.ask("task_recovering", task_id=task_id))["type"] == "task_continue"
            await place.until(task_id, "working")

    play(scene())


def test_what_one_does_not_have_cannot_be_recovered(place, play):
    async def scene():
        async with (
            await place.agent("t-owner", capabilities=["c-owner"]) as owner,
            await place.agent("t-thief") as thief,
        ):
            task_id, _ = await given(place, owner, "c-owner")
            for name in (task_id, "task-ffffffffffffffff", "../etc", ""):
                assert await thief.ask("task_recovering", task_id=name) == {
                    "type": "task_reassign",
                    "task_id": name,
                }

    play(scene())


def test_several_recoveries_are_each_answered(place, play):
    async def scene():
        old = await place.agent("t-several", capabilities=["c-several"])
        task_id, _ = await given(place, old, "c-several")
        await old.ask("task_accepted", task_id=task_id)
        for name in (task_id, "gone", task_id):
            await old.say("task_recovering", task_id=name)
        answers = [await old.hear() for _ in range(2)]
        assert {"type": "task_reassign", "task_id": "gone"} in answers
        assert any(a["type"] == "task_continue" for a in answers)
        await old.ws.close()

    play(scene())


def test_a_state_report_of_a_later_sidecar_is_answered(place, play):
    async def scene():
        async with await place.agent("t-state", capabilities=["c-state"]) as old:
            task_id, generation = await given(place, old, "c-state")
            await old.ask("task_accepted", task_id=task_id)
            answer = await old.ask("state_report", task_id=task_id, generation=generation, status="working")
            assert answer == {"type": "state_report_ack", "task_id": task_id, "action": "continue"}
            answer = await old.ask("state_report", task_id=task_id, generation=generation + 1)
            assert answer["action"] == "abort"

    play(scene())


def test_frames_of_later_sidecars_that_mean_nothing_here_are_taken(place, play):
    async def scene():
        async with await place.agent("t-later") as old:
            await old.say("resource_report", cpu_percent=3)
            await old.say("wake_result", task_id="t", status="success")
            await old.say("agent_restarting", reason="update")
            await old.quiet()

    play(scene())


def test_a_cancelled_task_is_told_and_its_agent_is_free_for_the_next(place, play):
    async def scene():
        async with await place.agent("t-cancel", capabilities=["c-cancel"]) as old:
            task_id, generation = await given(place, old, "c-cancel")
            await old.ask("task_accepted", task_id=task_id)
            assert place.http("POST", f"/api/tasks/{task_id}/cancel", {}, place.admin)[0] == 200
            told = await old.hear("task_cancelled")
            assert told["task_id"] == task_id
            assert told["timestamp"]
            assert place.task(task_id, old.token)["status"] == "dead_letter"
            error = await old.ask("task_complete", task_id=task_id, generation=generation)
            assert error["error"] == "task_complete_failed: invalid_state"
            await given(place, old, "c-cancel")

    play(scene())


# --- bad frames ------------------------------------------------------------------------------------


@pytest.mark.parametrize("raw", ["{", "", "[]", "5", "nonsense", '{"type":"ping"} x'])
def test_what_is_no_json_object_is_invalid_json(place, play, raw):
    async def scene():
        async with await place.agent(f"t-json-{abs(hash(raw)) % 10**6}") as old:
            await old.ws.send(raw)
            error = await old.hear()
            assert (error["type"], error["error"]) == ("error", "invalid_json")
            await old.quiet()

    play(scene())


WRONG = [
    ({}, None, [("type", "required")]),
    ({"type": 5}, None, [("type", "wrong_type")]),
    ({"type": "nonsense"}, "nonsense", [("type", "unknown_message_type")]),
    ({"type": "identify"}, "identify", [("agent_id", "required"), ("token", "required")]),
    ({"type": "identify", "agent_id": None, "token": 5}, "identify",
     [("agent_id", "required"), ("token", "wrong_type")]),
    ({"type": "identify", "agent_id": "a" * 129, "token": "t"}, "identify", [("agent_id", "too_long")]),
    ({"type": "identify", "agent_id": "a", "token": "t" * 257, "name": "n" * 257, "status": "s" * 257}, "identify",
     [("token", "too_long"), ("name", "too_long"), ("status", "too_long")]),
    ({"type": "identify", "agent_id": "a", "token": "t", "capabilities": "code"}, "identify",
     [("capabilities", "wrong_type")]),
    ({"type": "identify", "agent_id": "a", "token": "t", "capabilities": ["code", 5]}, "identify",
     [("capabilities", "wrong_type")]),
    ({"type": "status"}, "status", [("status", "required")]),
    ({"type": "status", "status": "s" * 257}, "status", [("status", "too_long")]),
    ({"type": "task_accepted"}, "task_accepted", [("task_id", "required")]),
    ({"type": "task_accepted", "task_id": 7}, "task_accepted", [("task_id", "wrong_type")]),
    ({"type": "task_progress", "task_id": "t", "progress": "half"}, "task_progress", [("progress", "wrong_type")]),
    ({"type": "task_complete", "task_id": "t"}, "task_complete", [("generation", "required")]),
    ({"type": "task_complete", "task_id": "t", "generation": "1", "result": []}, "task_complete",
     [("generation", "wrong_type"), ("result", "wrong_type")]),
    ({"type": "task_failed", "task_id": "t", "generation": 1, "error": "e" * 2001, "reason": "r" * 2001}, "task_failed",
     [("error", "too_long"), ("reason", "too_long")]),
    ({"type": "task_recovering"}, "task_recovering", [("task_id", "required")]),
]  # fmt: skip


@pytest.mark.parametrize(("frame", "kind", "wrong"), WRONG)
def test_every_wrong_field_is_named(place, play, frame, kind, wrong):
    async def scene():
        async with await place.connect() as old:
            await old.ws.send(json.dumps(frame))
            answer = await old.hear()
            assert (answer["type"], answer["error"], answer["message_type"]) == (
                "error",
                "validation_failed",
                kind,
            )
            assert [(e["field"], e["error"]) for e in answer["errors"]] == wrong
            for error in answer["errors"]:
                assert error["detail"]
                assert len(str(error.get("value", ""))) <= 50
                if error["error"] == "unknown_message_type":
                    assert "identify" in error["known_types"]

    play(scene())


def test_a_secret_is_not_echoed(place, play):
    async def scene():
        async with await place.connect() as old:
            await old.say("identify", agent_id="a", token="s3cret" * 100)
            assert "s3cret" not in json.dumps(await old.hear())

    play(scene())


def test_unknown_fields_pass_and_null_is_the_same_as_absent(place, play):
    async def scene():
        token = place.register("t-null")
        async with await place.connect() as old:
            fields = {"name": None, "status": None, "capabilities": None, "extra": {"deep": [1]}}
            answer = await old.ask("identify", agent_id="t-null", token=token, **fields)
            assert answer["type"] == "identified"

    play(scene())


def test_a_result_nested_too_deeply_is_refused_and_changes_nothing(place, play):
    async def scene():
        async with await place.agent("t-deep", capabilities=["c-deep"]) as old:
            task_id, generation = await given(place, old, "c-deep")
            before = place.task(task_id)
            deep = "{" + '"a":{' * 50 + "}" * 50 + "}"
            await old.ws.send(
                f'{{"type":"task_complete","task_id":"{task_id}","generation":{generation},"result":{deep}}}'
            )
            assert (await old.hear())["error"] == "validation_failed"
            assert place.task(task_id) == before

    play(scene())


def test_the_tenth_bad_frame_within_a_minute_closes_and_starts_a_cool_down(place, play):
    async def scene():
        old = await place.agent("t-flood")
        for _ in range(9):
            assert (await old.ask("nonsense"))["error"] == "validation_failed"
        await old.quiet()
        await old.say("nonsense")
        code, reason, _ = await old.closed()
        assert (code, reason) == (1008, "too many validation errors")
        again = await place.connect()
        await again.say("identify", agent_id="t-flood", token=old.token)
        code, reason, frames = await again.closed()
        assert (code, frames) == (1008, [])
        assert reason.startswith("cooldown active: retry in ")
        assert reason.endswith("s")
        assert 0 < int(reason.removeprefix("cooldown active: retry in ")[:-1]) <= 30

    play(scene())


def test_a_frame_over_the_bound_closes_with_1009(place, play):
    async def scene():
        old = await place.agent("t-big")
        await old.say("status", status="x" * (1 << 20))
        code, _, _ = await old.closed()
        assert code == 1009

    play(scene())


def test_whoever_offers_only_unknown_subprotocols_is_refused(place, play):
    async def scene():
        with pytest.raises(Exception, match="400"):
            await place.connect(subprotocols=["chat"])

    play(scene())


# --- what must not happen (the older system's faults) ----------------------------------------------


def test_who_does_not_own_a_task_cannot_accept_or_finish_it(place, play):
    async def scene():
        async with (
            await place.agent("t-mine", capabilities=["c-mine"]) as owner,
            await place.agent("t-yours") as other,
        ):
            task_id, generation = await given(place, owner, "c-mine")
            error = await other.ask("task_accepted", task_id=task_id)
            assert error["error"] == "task_accept_failed: not_owner"
            await other.say("task_progress", task_id=task_id, progress=1)
            await other.quiet()
            error = await other.ask("task_complete", task_id=task_id, generation=generation)
            assert error["error"] == "task_complete_failed: not_owner"
            assert place.task(task_id)["status"] == "assigned"
            assert (await owner.ask("task_complete", task_id=task_id, generation=generation))[
                "status"
            ] == "complete"

    play(scene())


def test_the_newer_connection_of_an_agent_gets_the_tasks_and_its_presence_stays(place, play):
    async def scene():
        first = await place.agent("t-double", capabilities=["c-double"])
        async with await place.agent("t-double", first.token, capabilities=["c-double"]) as second:
            code, reason, _ = await first.closed()
            assert code == 1008
            assert "replaced" in reason
            await given(place, second, "c-double")
            names = [a["agent_id"] for a in (await second.ask("list_agents"))["agents"]]
            assert "t-double" in names

    play(scene())


def test_a_short_disconnect_does_not_take_the_work_away(place, play):
    async def scene():
        old = await place.agent("t-blip", capabilities=["c-blip"])
        task_id, generation = await given(place, old, "c-blip")
        await old.ask("task_accepted", task_id=task_id)
        await old.ws.close()
        async with await place.agent("t-blip", old.token, capabilities=["c-blip"]) as new:
            await new.quiet()  # a sidecar that only lost its connection says nothing of its task
            assert place.task(task_id)["generation"] == generation
            ack = await new.ask("task_complete", task_id=task_id, generation=generation, result={"ok": True})
            assert ack["status"] == "complete"
            assert place.task(task_id)["losses"] == 0

    play(scene())


def test_revoking_a_token_closes_its_session(place, play):
    async def scene():
        old = await place.agent("t-revoked")
        tokens = place.http("GET", "/api/tokens", token=place.admin)[1]["tokens"]
        [mine] = [t["token_id"] for t in tokens if t["subject"] == "t-revoked"]
        assert place.http("DELETE", f"/api/tokens/{mine}", token=place.admin)[0] == 200
        code, reason, _ = await old.closed()
        assert code == 1008
        assert "revoked" in reason

    play(scene())


def test_failed_logins_are_limited(place, play):
    async def scene():
        async with asyncio.timeout(30):
            old = await place.connect()
            # This machine's own address may fail often: it counts as an operator.
            for n in range(3_000):
                await old.say("identify", agent_id="t-guess", token=f"guess-{n}")
            code, _, _ = await old.closed()
            assert code == 1008

    play(scene())
