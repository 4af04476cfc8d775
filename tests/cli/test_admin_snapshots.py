"""`agentcom-admin snapshot` and `snapshots`: what they ask and show."""

import json

from agentcom.cli import exits
from agentcom.cli.admin import main
from agentcom.cli.admin_snapshots import size

NAME = "000002-00000000000001049999"
SNAPSHOT = {
    "name": NAME, "path": f"/backup/{NAME}", "epoch": 2, "seq": 1_049_999, "entry_at": 1_000, "made_at": 2_000,
    "bytes": 3 << 20, "rows": {"task": 40, "body": 41, "mailbox": 0}, "digest": "blake2b:00", "version": "0.1.0",
}  # fmt: skip


def test_a_snapshot_is_made_and_told(run, hub):
    made = {"snapshot": SNAPSHOT, "seconds": 1.26, "renewed": False, "removed": ["old"]}
    hub.answers["POST", "/api/snapshots"] = (201, made)
    shown = run(main, "snapshot").output
    assert shown.splitlines() == [
        f"snapshot {NAME} made and verified, in 1.3 s",
        f"  in      /backup/{NAME}",
        "  size    3.0 MiB, up to journal entry 1049999 of epoch 2",
        "  rows    81: body 41, task 40",
        "  removed old",
    ]
    assert json.loads(run(main, "snapshot", "--json").output) == made


def test_why_there_is_none_is_the_sentence_of_the_hub(run, hub):
    body = {"error": "unavailable", "message": "there is no new snapshot: there is no room in /backup"}
    hub.answers["POST", "/api/snapshots"] = (503, body)
    ended = run(main, "snapshot")
    assert ended.exit_code == exits.UNAVAILABLE
    assert "there is no room in /backup" in ended.output
    assert len(hub.asked) == 1  # making one is not repeated by itself


def test_the_list_says_what_there_is_and_what_comes(run, hub):
    listed = {
        "folder": "/backup",
        "running": True,
        "due_at": 0,
        "snapshots": [SNAPSHOT],
        "problem": "no room",
    }
    hub.answers["GET", "/api/snapshots"] = (200, listed)
    shown = run(main, "snapshots").output
    for part in (
        NAME,
        "1049999",
        "3.0 MiB",
        "81",
        "in /backup",
        "the last one failed: no room",
        "being made now",
    ):
        assert part in shown
    hub.answers["GET", "/api/snapshots"] = (200, {**listed, "snapshots": [], "running": False})
    assert "there is no snapshot yet" in run(main, "snapshots").output


def test_what_is_no_help_to_this_store_is_marked_and_told_how_it_goes(run, hub):
    listed = {
        "folder": "/backup", "running": False, "due_at": 0, "problem": "",
        "snapshots": [{**SNAPSHOT, "standing": "here"}],
    }  # fmt: skip
    hub.answers["GET", "/api/snapshots"] = (200, {**listed, "remains": []})
    shown = run(main, "snapshots").output
    assert "standing" not in shown
    assert "remove" not in shown
    others = [{**SNAPSHOT, "standing": standing} for standing in ("left_out", "before")]
    found = {
        "snapshots": [*listed["snapshots"], *others],
        "remains": ["/backup/000001-*", "/my archive/000001-*"],
    }
    hub.answers["GET", "/api/snapshots"] = (200, {**listed, **found})
    shown = run(main, "snapshots").output
    for part in (
        "left out by a restore",
        "of before",
        "the hub never removes it",
        "  rm -r '/my archive'/000001-*\n",
    ):
        assert part in shown


def test_sizes_are_short():
    assert [size(n) for n in (512, 1_536, 5 << 20, 3 << 30)] == ["512 B", "1.5 KiB", "5.0 MiB", "3.0 GiB"]
