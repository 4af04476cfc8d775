"""Rates against a plain model, and what happens to who does not listen."""

from hypothesis import given
from hypothesis import strategies as st

from agentcom.core.rates import FORGIVEN_S, HEARD_S, PENALTIES, Bucket, Rate

RATES = st.builds(
    Rate, per_min=st.floats(min_value=1, max_value=60_000), burst=st.integers(min_value=1, max_value=500)
)
ASKS = st.lists(
    st.tuples(st.floats(min_value=0, max_value=30), st.integers(min_value=1, max_value=20)), max_size=40
)


def copy(bucket: Bucket) -> Bucket:
    made = Bucket(Rate(1, 1))
    for name in Bucket.__slots__:
        setattr(made, name, getattr(bucket, name))
    return made


@given(rate=RATES, asks=ASKS)
def test_what_is_allowed_within_any_span_is_the_burst_and_the_rate(rate, asks):
    bucket, now, allowed = Bucket(rate), 1_000.0, []
    for pause, cost in asks:
        now += pause
        if not bucket.spend(cost, now):
            allowed.append((now, min(cost, rate.burst)))
    for first in range(len(allowed)):
        spent = 0
        for at, cost in allowed[first:]:
            spent += cost
            assert spent <= rate.burst + (at - allowed[first][0]) * rate.per_min / 60 + 1e-3


@given(rate=RATES, asks=ASKS)
def test_a_refusal_tells_the_true_time_to_wait(rate, asks):
    bucket, now = Bucket(rate), 1_000.0
    for pause, cost in asks:
        now += pause
        wait = bucket.spend(cost, now)
        if wait:
            assert copy(bucket).spend(cost, now + wait + 1e-5) == 0
            assert copy(bucket).spend(cost, now + wait * 0.99 - 1e-5) > 0


@given(rate=RATES, asks=ASKS)
def test_who_waits_as_told_is_never_punished(rate, asks):
    bucket, now = Bucket(rate), 1_000.0
    for pause, cost in asks:
        now += pause
        while wait := bucket.spend(cost, now):
            now += wait + 1e-5
        assert bucket.strikes == 0


@given(rate=RATES, asks=ASKS)
def test_an_idle_bucket_behaves_as_a_new_one(rate, asks):
    bucket, now = Bucket(rate), 1_000.0
    for pause, cost in asks:
        now += pause
        bucket.spend(cost, now)
    now = max(now, bucket.tat, bucket.blocked_until) + FORGIVEN_S + 0.001
    assert bucket.is_idle(now)
    assert bucket.left(now) == rate.burst
    assert bucket.spend(rate.burst, now) == 0


def test_the_penalty_grows_for_who_goes_on_and_in_the_end_it_is_lost():
    bucket, now = Bucket(Rate(60, 1)), 1_000.0
    bucket.spend(1, now)
    assert 0 < bucket.spend(1, now) <= 1
    seen = []
    while not bucket.is_lost:
        now += 0.4
        seen.append(round(bucket.spend(1, now), 6))
        assert len(seen) < 1_000
    assert sorted(set(seen) & set(PENALTIES)) == sorted(PENALTIES)


def test_what_was_on_its_way_when_the_refusal_was_read_is_not_held_against_it():
    bucket, now = Bucket(Rate(6, 5)), 1_000.0
    for _ in range(5):
        assert bucket.spend(1, now) == 0
    for n in range(10):
        assert bucket.spend(1, now + n * HEARD_S / 11) > 0
    assert bucket.strikes == 0


def test_a_flood_without_end_is_lost_within_moments():
    bucket, sent = Bucket(Rate(6_000, 100)), 0
    while not bucket.is_lost:
        bucket.spend(1, 1_000.0 + sent / 10_000)
        sent += 1
        assert sent < 5_000


def test_penalties_are_forgotten_after_a_quiet_time():
    bucket, now = Bucket(Rate(60, 1)), 1_000.0
    for n in range(20):
        bucket.spend(1, now + n * 0.3)
    assert bucket.strikes > 0
    now = bucket.blocked_until + FORGIVEN_S
    assert bucket.spend(1, now) == 0
    assert 0 < bucket.spend(1, now) <= 1
    assert bucket.strikes == 0


def test_the_warning_comes_once_before_the_first_refusal():
    bucket, warned = Bucket(Rate(60, 100)), []
    for n in range(100):
        assert bucket.spend(1, 1_000.0) == 0
        if bucket.warns(1_000.0):
            warned.append(n)
    assert warned == [80]
    assert bucket.is_near(1_000.0)
    assert bucket.spend(1, 1_000.0) > 0
