"""The small parts: frames, HTTP answers, /proc, profiles, arguments."""

import asyncio
import os
import signal
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from benchmarks import cli, hub, machine, profiling, wire, ws
from benchmarks.suite import WHAT


def unmasked(payload, final=True):
    return Frame(Opcode.TEXT, payload, fin=final).serialize(mask=False)


@given(st.binary(max_size=70_000), st.binary(max_size=5))
def test_a_server_frame_is_read_whole_and_what_follows_is_left(payload, rest):
    data = unmasked(payload)
    assert ws.server_frame(data + rest) == (1, True, payload, len(data))


@given(st.binary(max_size=300), st.data())
def test_a_cut_server_frame_is_not_read(payload, data):
    whole = unmasked(payload)
    assert ws.server_frame(whole[: data.draw(st.integers(0, len(whole) - 1))]) is None


@pytest.mark.parametrize("size", [0, 125, 126, 65_535, 65_536])
def test_a_client_frame_says_its_size_and_that_it_is_masked(size):
    frame = ws.client_frame(1, b"x" * size)
    short = frame[1] & 0x7F
    said = {126: lambda: struct.unpack("!H", frame[2:4])[0], 127: lambda: struct.unpack("!Q", frame[2:10])[0]}
    assert frame[1] & 0x80
    assert said.get(short, lambda: short)() == size
    assert frame.endswith(b"\0\0\0\0" + b"x" * size)


class Wire:
    """A transport that remembers what was written."""

    def __init__(self):
        self.written = b""

    def write(self, data):
        self.written += data

    def is_closing(self):
        return False


async def answered(*parts):
    connection = wire.Connection(b"host: h\r\n")
    connection.connection_made(Wire())
    waiting = connection.post(b"/api/tasks", b"{}")
    for part in parts:
        connection.data_received(part)
    return await waiting


@given(st.integers(0, 60))
def test_an_answer_is_read_however_it_is_cut(cut):
    data = b"HTTP/1.1 201 Created\r\nContent-Length: 4\r\nx: y\r\n\r\nbody"
    assert asyncio.run(answered(data[:cut], data[cut:])) == (201, b"body")


def test_an_answer_without_a_length_is_an_error_and_no_hang():
    with pytest.raises(wire.AnswerError, match="no content-length"):
        asyncio.run(answered(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"))


def test_a_closed_connection_fails_the_request_that_waits():
    async def ask():
        connection = wire.Connection(b"")
        connection.connection_made(Wire())
        waiting = connection.post(b"/", b"")
        connection.connection_lost(None)
        await waiting

    with pytest.raises(ConnectionError):
        asyncio.run(ask())


def test_anonymous_memory_is_read_from_the_process_status():
    assert hub.status_kb("Name:\tx\nRssAnon:\t   2048 kB\nRssFile:\t 1 kB\n", "RssAnon") == 2048
    with pytest.raises(ValueError, match="RssAnon"):
        hub.status_kb("Name:\tx\n", "RssAnon")


def test_own_time_is_the_leaf_and_recursion_counts_once():
    own, under = profiling.own_and_under({"main;a;b": 3, "main;a": 1, "main;a;a;a": 2})
    assert own == {"b": 3, "a": 3}
    assert under == {"main": 6, "a": 6, "b": 3}


def test_a_profile_shows_shares_and_threads():
    text = profiling.Profile({"main;a": 3, "main": 1}, {"commit/7": 1.5}).table()
    assert " 75.0%  75.0%  a" in text
    assert "25.0% 100.0%  main" in text
    assert "commit/7 1.5" in text


def test_a_process_without_a_handler_is_not_signalled():
    previous = signal.signal(signal.SIGUSR2, lambda *_: None)
    try:
        assert profiling.catches(os.getpid(), signal.SIGUSR2)
        signal.signal(signal.SIGUSR2, signal.SIG_DFL)
        assert not profiling.catches(os.getpid(), signal.SIGUSR2)
    finally:
        signal.signal(signal.SIGUSR2, previous)


def arguments(*argv):
    return cli.parser().parse_args(argv)


def test_the_deepest_queue_and_many_signatures_are_measured_only_when_asked_for():
    assert cli.depths(arguments()) == [100, 10_000]
    assert cli.depths(arguments("--slow")) == [100, 10_000, 1_000_000]
    assert cli.depths(arguments("--depth", "5", "5")) == [5]
    assert cli.chosen(arguments()) == set(WHAT)
    assert cli.chosen(arguments("all", "--slow")) == {*WHAT, "signatures", "messages", "durability"}
    assert cli.chosen(arguments("batch", "signatures")) == {"batch", "signatures"}


def test_submits_bring_along_the_peers_they_are_compared_with():
    assert cli.chosen(arguments("submit")) == {"submit", "peers"}
    assert cli.chosen(arguments("lifecycle")) == {"lifecycle"}
    assert cli.chosen(arguments("peers")) == {"peers"}


def test_the_disk_of_a_folder_is_the_nearest_mount_above_it():
    assert machine.filesystem_of(machine.Path("/proc/self")) == "proc"


def test_a_folder_in_memory_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "filesystem_of", lambda _folder: "tmpfs")
    with pytest.raises(machine.NotOnDiskError, match="tmpfs"):
        machine.describe(tmp_path)
