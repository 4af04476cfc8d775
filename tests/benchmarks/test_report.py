"""The table, the JSON and the sentences."""

import json

import msgspec
import pytest

from benchmarks import report
from benchmarks.figures import KINDS, SHARES, Figure, of_commits, of_latency, of_rate, shares
from benchmarks.machine import Machine
from benchmarks.specs import Outcome
from benchmarks.stats import Spread

MACHINE = Machine(
    cpu="c",
    cores=2,
    memory_mb=1,
    kernel="k",
    python="3.11",
    packages={},
    filesystem="ext4",
    fsync_ms=0.5,
    load_before=0.1,
)
OUTCOME = Outcome(
    count=4_000, seconds=2.0, spread=Spread(4_000, 1.0, 2.0, 3.0), hub_cpu=0.9, load_cpu=0.4, late_ms=1.2
)


def figure(name="submit.rate", depth=100, value=6_000.0, detail=None):
    return Figure(name=name, depth=depth, value=value, detail=detail)


def a_report(*figures, errors=()):
    return report.Report(
        started="2026-01-01T00:00:00+00:00", took_s=1.0, commit="abc", arguments=["submit"], machine=MACHINE,
        figures=list(figures), errors=list(errors),
    )  # fmt: skip


def row(text, title):
    return next(line for line in text.splitlines() if line.startswith(title))


def test_the_table_shows_aim_ratio_and_how_much_worse_the_deep_queue_is():
    text = report.table([figure(value=6_000), figure(depth=1_000_000, value=3_000)])
    assert row(text, "submit").split() == [
        "submit,", "32", "connections", "/s", "≥", "4,000", "6,000", "1.50x", "3,000", "0.75x", "2.00", "!",
    ]  # fmt: skip
    assert "depth 1,000,000" in row(text, "figure")


def test_a_figure_that_was_not_measured_at_a_depth_shows_a_dash_and_no_factor():
    text = report.table([figure(depth=100), figure("batch.rate", depth=10_000, value=1.0)])
    assert row(text, "submit,").split()[-2:] == ["1.50x", "-"]


def test_a_factor_within_the_aim_carries_no_mark():
    text = report.table([figure(value=4_000), figure(depth=10_000, value=4_000)])
    assert row(text, "submit").endswith("1.00")


def test_a_table_of_nothing_is_only_its_head():
    assert len(report.table([]).splitlines()) == 2


def test_the_memory_aim_counts_only_for_a_queue_as_deep_as_it_was_stated_for():
    assert figure("memory.growth", depth=100, value=1_000).ratio is None
    assert figure("memory.growth", depth=1_000_000, value=300).ratio == 0.5


def test_half_of_an_aim_is_still_near_it_and_less_is_missed():
    assert not figure(value=2_000).failed
    assert figure(value=1_999).failed
    assert not figure("submit.p50", value=1e9).failed, "a figure without an aim cannot miss it"


def test_the_json_carries_title_unit_aim_and_ratio_beside_each_value():
    plain = json.loads(report.to_json(a_report(figure(detail=OUTCOME), errors=["broken"])))
    found = plain["figures"][0]
    assert (found["title"], found["unit"], found["aim"], found["ratio"]) == (
        KINDS["submit.rate"].title,
        "/s",
        4000,
        1.5,
    )
    assert found["detail"]["hub_cpu"] == 0.9
    assert (plain["errors"], plain["machine"]["cores"], plain["commit"]) == (["broken"], 2, "abc")


def test_misses_and_errors_are_said_in_sentences():
    sentences = report.verdicts(a_report(figure(value=1_000), figure(depth=5), errors=["lost a task"]))
    assert sentences == ["under half of the aim: submit.rate at depth 100: 1,000 /s", "error: lost a task"]


def test_a_run_on_a_busy_machine_says_so():
    busy = msgspec.structs.replace(a_report(), machine=msgspec.structs.replace(MACHINE, load_before=2.5))
    assert report.verdicts(busy) == [
        "the machine was busy: its load was 2.5 before the run; figures are too low"
    ]


def test_the_load_table_tells_which_process_was_the_limit():
    text = report.load_table([figure(detail=OUTCOME), figure("submit.p50", value=1.0)])
    assert row(text, "submit").split() == ["submit", "100", "0.90", "450", "0.40", "1.2", "0"]


def test_a_rate_is_things_a_second_and_brings_its_percentiles():
    found = {f.name: f.value for f in of_rate("submit", 100, OUTCOME)}
    assert found == {"submit.rate": 2_000, "submit.p50": 1.0, "submit.p99": 2.0}


def test_a_latency_run_that_measured_nothing_gives_no_figure():
    assert of_latency("latency100", 100, Outcome(count=0, seconds=1.0)) == []


def test_a_latency_run_gives_median_p99_and_max():
    found = of_latency("latency100", 100, OUTCOME)
    assert [(f.name, f.value) for f in found] == [
        ("latency100.p50", 1.0), ("latency100.p99", 2.0), ("latency100.max", 3.0),
    ]  # fmt: skip
    assert found[0].detail is OUTCOME


@pytest.mark.parametrize(
    ("value", "shown"), [(12_345.6, "12,346"), (99.94, "99.9"), (1.234, "1.23"), (0, "0.00")]
)
def test_numbers_are_shown_with_three_digits_or_whole(value, shown):
    assert report.number(value) == shown


def of_the_peers(depth=100, uvicorn=12_000.0, lmdb=1_500.0):
    cheap = msgspec.structs.replace(OUTCOME, hub_cpu=0.09)
    return [
        figure(depth=depth, value=6_000, detail=OUTCOME),
        figure("uvicorn.rate", depth=depth, value=uvicorn, detail=cheap),
        figure("lmdb.rate", depth=depth, value=lmdb),
    ]


def test_a_share_is_a_figure_over_its_peer_of_the_same_depth():
    found = shares([*of_the_peers(), *of_the_peers(depth=5, uvicorn=6_000, lmdb=1_000)])
    assert {(f.name, f.depth): pytest.approx(f.value) for f in found} == {
        ("submit.of_uvicorn", 100): 0.5, ("submit.of_lmdb", 100): 4.0, ("submit.cpu_of_uvicorn", 100): 10.0,
        ("submit.of_uvicorn", 5): 1.0, ("submit.of_lmdb", 5): 6.0, ("submit.cpu_of_uvicorn", 5): 10.0,
    }  # fmt: skip


def test_a_peer_of_another_depth_or_that_did_nothing_gives_no_share():
    assert shares([figure(depth=100), figure("uvicorn.rate", depth=5), figure("lmdb.rate", value=0.0)]) == []


def test_each_share_has_a_line_in_the_table():
    assert set(SHARES) <= set(KINDS)
    text = report.table(shares(of_the_peers()))
    assert row(text, "  submits to a bare commit").split()[-2:] == ["x", "4.00"]


def test_bare_commits_are_no_line_of_the_load_table():
    found = of_commits("lmdb", 100, OUTCOME)
    assert {f.name: f.value for f in found} == {"lmdb.rate": 2_000, "lmdb.p50": 1.0, "lmdb.p99": 2.0}
    assert report.load_table(found) == ""


def pythons(before, after, depth=100):
    return [
        figure("python.before", depth=depth, value=before),
        figure("python.after", depth=depth, value=after),
    ]


def test_a_machine_that_changed_its_speed_by_more_than_a_quarter_is_told():
    steady = report.verdicts(a_report(*pythons(20.0, 24.0), *pythons(25.0, 20.0, depth=5)))
    slower, faster = report.verdicts(a_report(*pythons(30.0, 20.0), *pythons(20.0, 30.0, depth=5)))
    assert steady == []
    assert "at depth 100: plain Python was 1.50 times" in slower
    assert "at depth 5: plain Python was 0.67 times" in faster


def test_a_depth_that_ended_early_is_not_judged_by_half_a_calibration():
    assert report.verdicts(a_report(figure("python.before", value=20.0))) == []
