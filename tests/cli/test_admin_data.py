"""`agentcom-admin compact`: it waits for the end, and says what came of it."""

import json

from agentcom.cli import exits
from agentcom.cli.admin import main

MB = 1 << 20
RUNNING = {
    "state": "rewriting",
    "asked": 1,
    "done": 0,
    "bytes": 10 * MB,
    "free_bytes": MB,
    "problem": "",
    "last": None,
}
LAST = {"at": 1, "bytes_before": 10 * MB, "bytes_after": 3 * MB, "seconds": 1.26, "pause_ms": 84.2}
DONE = {**RUNNING, "state": "idle", "done": 1, "last": LAST}


def test_compact_prints_the_sizes_before_and_after(run, hub):
    hub.answers["POST", "/api/compaction"] = (200, RUNNING)
    hub.answers["GET", "/api/compaction"] = (200, DONE)
    done = run(main, "compact")
    assert done.exit_code == exits.OK
    assert done.output == "10.0 MB before, 3.0 MB after; took 1.3 s, commits waited 84 ms\n"
    assert json.loads(run(main, "compact", "--json").output) == DONE


def test_compact_that_need_not_wait_says_that_it_goes_on(run, hub):
    hub.answers["POST", "/api/compaction"] = (200, RUNNING)
    assert run(main, "compact", "--no-wait").output == "the file has 10.0 MB; it is being rewritten\n"


def test_compact_that_failed_or_was_interrupted_says_why(run, hub):
    hub.answers["POST", "/api/compaction"] = (200, RUNNING)
    hub.answers["GET", "/api/compaction"] = (200, {**DONE, "problem": "the disk is full"})
    done = run(main, "compact")
    assert (done.exit_code, done.output) == (
        exits.REFUSED,
        "error: the file was not rewritten: the disk is full\n",
    )
    hub.answers["GET", "/api/compaction"] = (200, {**RUNNING, "asked": 0})  # it started again
    assert "it was interrupted; the store in force is whole" in run(main, "compact").output
