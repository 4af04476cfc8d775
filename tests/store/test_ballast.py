"""Room that is given up when it is needed, and made again when there is enough."""

import errno
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentcom.store.ballast import STEP, Ballast, growth

SIZE = 20 << 20
PLENTY = 1 << 40
sizes = st.integers(0, 1 << 32)


def made(path, wanted=SIZE):
    ballast = Ballast(path, wanted)
    while ballast.bytes < wanted:
        ballast.tend(PLENTY)
    return ballast


@given(has=sizes, wanted=sizes, room=sizes)
def test_a_ballast_grows_only_when_all_of_it_leaves_twice_its_size(has, wanted, room):
    more = growth(has, wanted, room)
    assert 0 <= more <= min(STEP, max(0, wanted - has))
    if more:
        assert room - (wanted - has) >= 2 * wanted
    elif wanted > has:
        assert room - (wanted - has) < 2 * wanted


def test_its_blocks_are_really_taken(tmp_path):
    made(tmp_path / "ballast")
    found = (tmp_path / "ballast").stat()
    assert found.st_size == SIZE
    assert found.st_blocks * 512 >= SIZE


def test_where_the_system_cannot_allocate_it_is_filled_with_bytes(tmp_path, monkeypatch):
    def cannot(*_):
        raise OSError(errno.EOPNOTSUPP, "not supported")

    monkeypatch.setattr(os, "posix_fallocate", cannot)
    made(tmp_path / "ballast")
    found = (tmp_path / "ballast").stat()
    assert found.st_size == SIZE
    assert found.st_blocks * 512 >= SIZE


def test_it_is_given_up_once_and_the_next_life_knows(tmp_path):
    ballast = made(tmp_path / "ballast")
    assert ballast.give_up()
    assert not ballast.give_up()
    assert (tmp_path / "ballast").stat().st_blocks == 0
    later = Ballast(tmp_path / "ballast", SIZE)
    assert later.given_up
    later.tend(later.needs - 1)
    assert later.given_up
    later.tend(later.needs)
    assert not later.given_up


def test_one_that_was_never_made_was_not_given_up(tmp_path):
    ballast = Ballast(tmp_path / "ballast", SIZE)
    ballast.tend(0)
    assert not ballast.give_up()
    assert not Ballast(tmp_path / "ballast", SIZE).given_up
    assert not (tmp_path / "ballast").exists()


@pytest.mark.parametrize("wanted", [0, 1 << 20])
def test_it_follows_a_setting_that_was_lowered(tmp_path, wanted):
    made(tmp_path / "ballast")
    ballast = Ballast(tmp_path / "ballast", wanted)
    ballast.tend(PLENTY)
    assert ballast.bytes == wanted
    assert (tmp_path / "ballast").exists() == bool(wanted)


def test_a_full_disk_leaves_it_as_it_was_and_other_errors_are_told(tmp_path, monkeypatch):
    ballast = Ballast(tmp_path / "ballast", SIZE)
    for code, problem in ((errno.ENOSPC, ""), (errno.EIO, "[Errno 5] Input/output error")):

        def fails(*_, code=code):
            raise OSError(code, os.strerror(code))

        monkeypatch.setattr(os, "posix_fallocate", fails)
        ballast.tend(PLENTY)
        assert (ballast.bytes, ballast.problem) == (0, problem)
