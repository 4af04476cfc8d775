"""The process in figures, and what is told where the system does not say."""

from agentcom import process
from agentcom.protocol.metrics import render
from tests.prometheus import parse

STATUS = "Name:\tagentcom\nVmRSS:\t   50000 kB\nRssAnon:\t   43292 kB\nRssFile:\t 6708 kB\n"


def test_memory_is_read_in_bytes():
    assert process.rss_anon_bytes(STATUS) == 43_292 * 1024
    assert process.rss_anon_bytes("Name:\tagentcom\n") == 0


def test_where_there_is_no_proc_the_rest_is_told(monkeypatch, tmp_path):
    monkeypatch.setattr(process, "PROC", tmp_path / "none")
    found = parse(render(process.families(0.25, {"store": 2})).decode())
    assert set(found) == {
        "agentcom_process_cpu_seconds_total",
        "agentcom_loop_lag_seconds",
        "agentcom_actor_restarts_total",
    }
    assert found["agentcom_actor_restarts_total"].samples == {(("actor", "store"),): 2.0}
