"""How long an agent of protocol 1 has its task: as long as its connection lasts, plus grace, and never for ever."""

import asyncio
import time

import pytest

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def settings():
    return {
        "lease__work_s": "1",
        "lease__grace_s": "2",
        "lease__max_runtime_s": "6",
        "lease__stop_s": "1",
        "lease__heartbeat_s": "1",
    }


async def working(place, agent, needs):
    old = await place.agent(agent, capabilities=[needs])
    task_id = place.submit(needed_capabilities=[needs])
    generation = (await old.hear("task_assign"))["generation"]
    await old.ask("task_accepted", task_id=task_id)
    return old, task_id, generation


async def hub_time_passes(place, seconds):
    """By the hub's own clock: a task that nobody takes reaches its deadline."""
    deadline = int((time.time() + seconds) * 1000)
    await place.until(place.submit(needed_capabilities=["nobody"], complete_by=deadline), "dead_letter")


def test_silence_about_a_task_means_nothing_while_the_connection_lasts(place, play):
    async def scene():
        old, task_id, generation = await working(place, "l-silent", "c-silent")
        async with old:
            await hub_time_passes(place, 3)
            task = place.task(task_id)
            assert (task["status"], task["losses"]) == ("working", 0)
            assert (await old.ask("task_complete", task_id=task_id, generation=generation))[
                "status"
            ] == "complete"

    play(scene())


def test_nobody_holds_a_task_for_longer_than_max_runtime(place, play):
    async def scene():
        old, task_id, generation = await working(place, "l-hung", "c-hung")
        async with old:
            async with await place.agent("l-next", capabilities=["c-hung"]) as taker:
                frame = await taker.hear("task_assign")
                assert (frame["task_id"], frame["generation"] > generation) == (task_id, True)
                assert place.task(task_id)["losses"] == 1
                error = await old.ask("task_complete", task_id=task_id, generation=generation)
                assert error["error"] == "task_complete_failed: stale_generation"
                ack = await taker.ask("task_complete", task_id=task_id, generation=frame["generation"])
                assert ack["status"] == "complete"
            # The refused report ended its work: it is free for the next task, which the older hub would not have seen.
            next_task = place.submit(needed_capabilities=["c-hung"])
            assert (await old.hear("task_assign"))["task_id"] == next_task

    play(scene())


def test_who_stays_away_for_longer_than_grace_loses_its_task(place, play):
    async def scene():
        old, task_id, generation = await working(place, "l-away", "c-away")
        await old.ws.close()
        async with await place.agent("l-heir", capabilities=["c-away"]) as heir:
            frame = await heir.hear("task_assign")
            assert frame["task_id"] == task_id
            async with await place.agent("l-away", old.token) as back:
                assert (await back.ask("task_recovering", task_id=task_id))["type"] == "task_reassign"
                error = await back.ask("task_complete", task_id=task_id, generation=generation)
                assert error["error"] == "task_complete_failed: stale_generation"

    play(scene())


def test_a_lost_task_that_nobody_else_has_goes_on_for_who_recovers_it(place, play):
    async def scene():
        old, task_id, generation = await working(place, "l-late", "c-late")
        await old.ws.close()
        await place.until(task_id, "queued")
        async with await place.agent("l-late", old.token) as back:  # it does not say that it can do the task
            answer = await back.ask("task_recovering", task_id=task_id)
            assert answer == {"type": "task_continue", "task_id": task_id, "generation": generation}
            assert (await back.ask("task_complete", task_id=task_id, generation=generation))[
                "status"
            ] == "complete"

    play(scene())


def test_a_killed_hub_takes_no_work_away(place, process, play):
    async def scene():
        old, task_id, generation = await working(place, "l-kill", "c-kill")
        process.kill()
        await old.ws.wait_closed()
        process.start()
        await process.serving()
        async with await place.agent("l-kill", old.token, capabilities=["c-kill"]) as back:
            await back.quiet()
            ack = await back.ask("task_complete", task_id=task_id, generation=generation, result={"a": 1})
            assert ack["status"] == "complete"
        task = place.task(task_id)
        assert (task["status"], task["losses"], task["generation"]) == ("completed", 0, generation)

    play(scene())


def test_a_report_whose_lane_is_restarting_gets_through(place, play):
    async def scene():
        old, task_id, generation = await working(place, "l-crash", "c-crash")
        async with old:
            crashed = asyncio.to_thread(place.http, "POST", "/api/actors/lane.normal/crash", {}, place.admin)
            _, ack = await asyncio.gather(
                crashed, old.ask("task_complete", task_id=task_id, generation=generation)
            )
            assert ack == {"type": "task_ack", "task_id": task_id, "status": "complete"}
            assert place.task(task_id)["status"] == "completed"

    play(scene())
