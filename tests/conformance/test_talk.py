"""Messages, channels, presence and mailboxes of protocol 1, over its socket and over HTTP."""

import pytest


@pytest.fixture(scope="module")
def settings():
    return {"limits__max_bad_frames": "100000"}


def keys(body):
    return set(body)


# --- messages --------------------------------------------------------------------------------------


def test_a_message_reaches_an_agent_that_is_here(place, play):
    async def scene():
        async with await place.agent("m-a") as a, await place.agent("m-b") as b:
            sent = await a.ask("message", to="m-b", payload={"text": "hi"})
            assert keys(sent) == {"type", "id"}
            assert sent["type"] == "message_sent"
            message = await b.hear("message")
            assert message.pop("timestamp") > 1_600_000_000_000
            assert message == {
                "type": "message", "id": sent["id"], "from": "m-a", "message_type": "chat", "payload": {"text": "hi"},
                "reply_to": None,
            }  # fmt: skip
            answer = await b.ask(
                "message", "message_sent", to="m-a", payload={}, message_type="ack", reply_to=sent["id"]
            )
            message = await a.hear("message")
            assert (message["id"], message["reply_to"], message["message_type"]) == (
                answer["id"],
                sent["id"],
                "ack",
            )
            for path in (f"/api/threads/{sent['id']}", f"/api/threads/{answer['id']}"):
                status, thread = place.http("GET", path, token=a.token)
                assert status == 200
                assert [m["id"] for m in thread["messages"]] == [sent["id"], answer["id"]]
                assert (thread["root"]["id"], thread["count"]) == (sent["id"], 2)
            _, replies = place.http("GET", f"/api/threads/{sent['id']}/replies?token={a.token}")
            assert [m["id"] for m in replies["replies"]] == [answer["id"]]
            assert replies["parent"]["id"] == sent["id"]
            _, root = place.http("GET", f"/api/threads/{answer['id']}/root", token=a.token)
            assert (root["message_id"], root["root"]["id"]) == (answer["id"], sent["id"])

    play(scene())


@pytest.mark.parametrize("to", [{}, {"to": None}, {"to": "broadcast"}])
def test_a_broadcast_reaches_everyone_who_is_here(place, play, to):
    async def scene():
        name = f"m-all-{len(str(to))}"
        async with await place.agent(f"{name}-a") as a, await place.agent(f"{name}-b") as b:
            sent = await a.ask("message", "message_sent", payload={"n": 1}, **to)
            message = await b.hear("message")
            assert (message["id"], message["from"], message["payload"]) == (sent["id"], f"{name}-a", {"n": 1})

    play(scene())


def test_what_an_agent_was_sent_while_away_waits_for_its_poll(place, play):
    async def scene():
        async with await place.agent("m-poster") as a:
            token = place.register("m-away")
            ids = [(await a.ask("message", to="m-away", payload={"n": n}))["id"] for n in range(3)]
            status, box = place.http("GET", "/api/mailbox/m-away", token=token)
            assert status == 200
            assert [m["id"] for m in box["messages"]] == ids
            assert keys(box["messages"][0]) >= {
                "id",
                "from",
                "to",
                "type",
                "payload",
                "reply_to",
                "timestamp",
                "seq",
            }
            assert (box["agent_id"], box["count"]) == ("m-away", 3)
            # Whoever connects meanwhile is sent what comes from then on; what waits stays for the poll.
            async with await place.agent("m-away", token) as old:
                live = (await a.ask("message", to="m-away", payload={"n": 3}))["id"]
                assert (await old.hear("message"))["id"] == live
                seqs = [m["seq"] for m in box["messages"]]
                _, later = place.http("GET", f"/api/mailbox/m-away?since={seqs[0]}&token={token}")
                assert [m["id"] for m in later["messages"]][:2] == ids[1:]
                status, acked = place.http("POST", f"/api/mailbox/m-away/ack?token={token}", {"seq": seqs[1]})
                assert (status, acked) == (200, {"status": "acked", "up_to": seqs[1]})
            _, rest = place.http("GET", "/api/mailbox/m-away", token=token)
            assert [m["id"] for m in rest["messages"]] == ids[2:]
            _, acked = place.http("POST", "/api/mailbox/m-away/ack", {"seq": rest["last_seq"]}, token)
            _, empty = place.http("GET", "/api/mailbox/m-away", token=token)
            assert (empty["messages"], empty["last_seq"]) == ([], rest["last_seq"])  # it never goes back

    play(scene())


def test_what_a_socket_was_sent_is_not_in_the_mailbox_any_more(place, play):
    async def scene():
        async with await place.agent("m-c") as a, await place.agent("m-d") as b:
            for n in range(300):  # more than are sent ahead of an acknowledgement
                await a.say("message", to="m-d", payload={"n": n})
            assert len({(await a.hear("message_sent"))["id"] for _ in range(300)}) == 300
            heard = [(await b.hear("message"))["payload"]["n"] for _ in range(300)]
            assert heard == list(range(300))
        async with await place.agent("m-d", b.token):
            _, box = place.http("GET", "/api/mailbox/m-d", token=b.token)
            assert box["messages"] == []

    play(scene())


def test_a_mailbox_is_its_owners(place, play):
    async def scene():
        token, other = place.register("m-own"), place.register("m-nosy")
        assert place.http("GET", "/api/mailbox/m-own", token=other)[0] == 403
        assert place.http("GET", "/api/mailbox/m-own")[0] == 401
        assert place.http("POST", "/api/mailbox/m-own/ack", {"seq": 0}, other)[0] == 403
        for bad in ({}, {"seq": "1"}, {"seq": -1}):
            assert place.http("POST", "/api/mailbox/m-own/ack", bad, token)[0] == 422
        assert place.http("GET", "/api/mailbox/m-own?since=x", token=token)[0] == 422

    play(scene())


@pytest.mark.parametrize("to", ["m-nobody", "no such agent", "x" * 128, "\x00", "@ghost", "../etc"])
def test_nobody_is_told_that_a_message_to_nobody_was_sent(place, play, to):
    async def scene():
        async with await place.agent(f"m-lost-{abs(hash(to)) % 10**6}") as a:
            error = await a.ask("message", to=to, payload={})
            assert (error["type"], error["error"]) == ("error", "not_found")
            status, _ = place.http("POST", "/api/message", {"to": to, "payload": {}}, a.token)
            assert status in (404, 422)

    play(scene())


def test_a_message_over_http_comes_from_its_token(place, play):
    async def scene():
        token = place.register("m-http")
        async with await place.agent("m-heard") as b:
            body = {"payload": {"x": 1}, "to": "m-heard", "type": "note", "from": "m-somebody-else"}
            status, sent = place.http("POST", "/api/message", body, token)
            assert (status, sent["status"]) == (200, "sent")
            message = await b.hear("message")
            assert (message["id"], message["from"], message["message_type"]) == (sent["id"], "m-http", "note")
        _, found = place.http("GET", f"/api/messages?from=m-http&limit=1&token={token}")
        assert keys(found) >= {"messages", "cursor", "count"}
        assert [m["id"] for m in found["messages"]] == [sent["id"]]
        for query in ("limit=0", "limit=201", "limit=x", "start_time=soon"):
            assert place.http("GET", f"/api/messages?{query}", token=token)[0] == 422
        for bad in ({}, {"payload": 5}, {"payload": {}, "to": 5}):
            assert place.http("POST", "/api/message", bad, token)[0] == 422

    play(scene())


@pytest.mark.parametrize(
    ("frame", "wrong"),
    [
        ({"type": "message"}, [("payload", "required")]),
        ({"type": "message", "payload": "hi", "to": 5}, [("payload", "wrong_type"), ("to", "wrong_type")]),
        ({"type": "channel_subscribe"}, [("channel", "required")]),
        ({"type": "channel_subscribe", "channel": "c" * 65}, [("channel", "too_long")]),
        ({"type": "channel_publish", "channel": "c"}, [("payload", "required")]),
        ({"type": "channel_history", "channel": "c", "limit": "9"}, [("limit", "wrong_type")]),
    ],
)
def test_every_wrong_field_is_named(place, play, frame, wrong):
    async def scene():
        async with await place.connect() as old:
            answer = await old.ask(
                **{"kind": frame["type"], **{k: v for k, v in frame.items() if k != "type"}}
            )
            assert answer["error"] == "validation_failed"
            assert [(e["field"], e["error"]) for e in answer["errors"]] == wrong

    play(scene())


# --- channels --------------------------------------------------------------------------------------


def test_a_channels_name_loses_what_names_do_not_have_and_null_is_no_value(place, play):
    async def scene():
        async with await place.agent("m-odd") as odd:
            given = {"name": "#Odd Chan!", "description": None}
            status, made = place.http("POST", "/api/channels", given, odd.token)
            assert (status, made["channel"]) == (201, "oddchan")
            said = await odd.ask("channel_subscribe", channel="Odd Chan!")
            assert said == {"type": "channel_subscribed", "channel": "oddchan"}
            assert place.http("GET", "/api/channels/%23ODD%20chan", token=odd.token)[0] == 200
            assert place.http("POST", "/api/channels", {"name": "!!"}, odd.token)[0] == 422
            task = {"description": "x", "priority": None, "metadata": None}
            assert place.http("POST", "/api/tasks", task, odd.token)[0] == 201

    play(scene())


def test_a_channel_from_its_making_to_its_history(place, play):
    async def scene():
        async with await place.agent("m-pub") as pub, await place.agent("m-sub") as sub:
            given = {"name": "#News", "description": "what is new"}
            status, made = place.http("POST", "/api/channels", given, pub.token)
            assert (status, made["channel"]) == (201, "news")
            assert place.http("POST", "/api/channels", given, pub.token)[0] == 409
            assert await sub.ask("channel_subscribe", channel="#news") == {
                "type": "channel_subscribed", "channel": "news",
            }  # fmt: skip
            again = await sub.ask("channel_subscribe", channel="news")
            assert again == {"type": "channel_subscribed", "channel": "news", "note": "already_subscribed"}
            status, _ = place.http("POST", "/api/channels/news/subscribe", {}, pub.token)
            assert status == 200
            posted = await pub.ask("channel_publish", channel="news", payload={"n": 1}, message_type="story")
            assert (posted["type"], posted["channel"], posted["seq"]) == ("channel_published", "news", 1)
            message = await sub.hear("channel_message")
            assert message.pop("timestamp") > 1_600_000_000_000
            assert message == {
                "type": "channel_message", "channel": "news", "id": posted["id"], "from": "m-pub",
                "message_type": "story", "payload": {"n": 1}, "reply_to": None,
            }  # fmt: skip
            status, second = place.http(
                "POST", "/api/channels/news/publish", {"payload": {"n": 2}}, pub.token
            )
            assert (status, second["status"], second["seq"]) == (200, "published", 2)
            assert (await sub.hear("channel_message"))["payload"] == {"n": 2}
            await pub.quiet()  # no echo to who published

            history = await sub.ask("channel_history", channel="news")
            assert [(m["seq"], m["message"]["payload"]["n"]) for m in history["messages"]] == [(1, 1), (2, 2)]
            assert history["messages"][0]["stored_at"] == history["messages"][0]["message"]["timestamp"]
            after = await sub.ask("channel_history", channel="news", since=1, limit=5)
            assert [m["seq"] for m in after["messages"]] == [2]
            unknown = await sub.ask("channel_history", channel="nowhere")
            assert (unknown["type"], unknown["messages"]) == ("channel_history", [])
            channels = (await sub.ask("list_channels"))["channels"]
            [news] = [c for c in channels if c["name"] == "news"]
            assert news.pop("created_at")
            assert news == {"name": "news", "description": "what is new", "subscriber_count": 2}

            status, info = place.http("GET", "/api/channels/news", token=pub.token)
            assert sorted(info["subscribers"]) == ["m-pub", "m-sub"]
            assert keys(info) >= {
                "name",
                "description",
                "subscribers",
                "subscriber_count",
                "created_at",
                "created_by",
            }
            _, body = place.http("GET", "/api/channels/news/history?limit=1&since=0", token=pub.token)
            assert keys(body) >= {"channel", "messages", "count"}
            _, mine = place.http("GET", "/api/agents/m-sub/subscriptions", token=sub.token)
            assert mine == {"agent_id": "m-sub", "channels": ["news"]}

            left = await sub.ask("channel_unsubscribe", channel="news")
            assert left == {"type": "channel_unsubscribed", "channel": "news"}
            await pub.ask("channel_publish", "channel_published", channel="news", payload={})
            await sub.quiet()

    play(scene())


def test_a_subscriber_hears_of_the_next_one(place, play):
    async def scene():
        async with await place.agent("m-first") as first, await place.agent("m-second") as second:
            place.http("POST", "/api/channels", {"name": "club"}, place.admin)
            await first.ask("channel_subscribe", channel="club")
            await second.ask("channel_subscribe", channel="club")
            joined = await first.hear("channel_agent_joined")
            assert joined == {"type": "channel_agent_joined", "channel": "club", "agent_id": "m-second"}

    play(scene())


@pytest.mark.parametrize("kind", ["channel_subscribe", "channel_unsubscribe", "channel_publish"])
@pytest.mark.parametrize("channel", ["nowhere", "#", "no such", "?"])
def test_a_channel_that_is_not_there(place, play, kind, channel):
    async def scene():
        async with await place.agent(f"m-{kind[8:11]}-{abs(hash((kind, channel))) % 10**7}") as old:
            error = await old.ask(kind, channel=channel, payload={})
            assert (error["type"], error["error"]) == ("error", "channel_not_found")

    play(scene())


def test_subscriptions_outlast_a_session_and_posts_wait(place, play):
    async def scene():
        old = await place.agent("m-keeps")
        place.http("POST", "/api/channels", {"name": "lasting"}, place.admin)
        await old.ask("channel_subscribe", channel="lasting")
        await old.ws.close()
        place.http("POST", "/api/channels/lasting/publish", {"payload": {"n": 1}}, place.admin)
        _, box = place.http("GET", "/api/mailbox/m-keeps", token=old.token)
        assert [m["payload"] for m in box["messages"]] == [{"n": 1}]
        async with await place.agent("m-keeps", old.token) as again:
            place.http("POST", "/api/channels/lasting/publish", {"payload": {"n": 2}}, place.admin)
            assert (await again.hear("channel_message"))["payload"] == {"n": 2}

    play(scene())


# --- presence --------------------------------------------------------------------------------------


async def heard(old, kind, agent_id):
    while True:
        frame = await old.hear(kind)
        if (frame.get("agent") or frame)["agent_id"] == agent_id:
            return frame


def test_everyone_hears_who_comes_goes_and_says_a_status(place, play):
    async def scene():
        async with await place.agent("p-watch") as watch:
            guest = await place.agent("p-guest", name="Guest", status="s1", capabilities=["c"])
            joined = (await heard(watch, "agent_joined", "p-guest"))["agent"]
            assert joined.pop("connected_at") > 1_600_000_000_000
            assert joined == {"agent_id": "p-guest", "name": "Guest", "status": "s1", "capabilities": ["c"]}
            await guest.ask("status", status="s2")
            for old in (watch, guest):  # also back to who said it
                changed = (await heard(old, "status_changed", "p-guest"))["agent"]
                assert (changed["status"], changed["name"]) == ("s2", "Guest")
                assert keys(changed) == {"agent_id", "name", "status", "capabilities", "connected_at"}
            await guest.ws.close()
            left = await heard(watch, "agent_left", "p-guest")
            assert left == {"type": "agent_left", "agent_id": "p-guest"}

    play(scene())


def test_one_is_not_told_of_ones_own_coming(place, play):
    async def scene():
        async with await place.agent("p-self") as old, await place.agent("p-other"):
            first = await old.hear("agent_joined")
            assert first["agent"]["agent_id"] != "p-self"

    play(scene())


def test_work_is_no_change_of_status(place, play):
    async def scene():
        async with (
            await place.agent("p-seer") as seer,
            await place.agent("p-worker", capabilities=["c-p"]) as worker,
        ):
            await heard(seer, "agent_joined", "p-worker")
            task_id = place.submit(needed_capabilities=["c-p"])
            frame = await worker.hear("task_assign")
            await worker.ask("task_accepted", task_id=task_id)
            await worker.ask("task_complete", task_id=task_id, generation=frame["generation"])
            await worker.ask("status", status="done")
            changed = await heard(seer, "status_changed", "p-worker")
            assert changed["agent"]["status"] == "done"

    play(scene())


# --- analytics -------------------------------------------------------------------------------------


def test_analytics_count_real_traffic(place, play):
    async def scene():
        async with await place.agent("m-count") as a, await place.agent("m-counted") as b:
            await a.ask("message", to="m-counted", payload={})
            await b.hear("message")
            status, summary = place.http("GET", "/api/analytics/summary", token=a.token)
            assert status == 200
            assert summary["messages_sent"] >= 1
            _, agents = place.http("GET", "/api/analytics/agents", token=a.token)
            [mine] = [x for x in agents["agents"] if x["agent_id"] == "m-count"]
            assert mine["messages_sent"] == 1
            status, hourly = place.http("GET", "/api/analytics/agents/m-count/hourly", token=a.token)
            assert (status, sum(hour["sent"] for hour in hourly["hours"])) == (200, 1)

    play(scene())
