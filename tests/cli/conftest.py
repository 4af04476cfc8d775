"""A hub that answers what a test tells it to, over real HTTP.

Unrealistic: it keeps no state, decides nothing and checks no token; it only records what it was asked.
"""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest
from click.testing import CliRunner

SUBMITTED = {"task_id": "task-1", "status": "queued", "priority": 2, "created_at": 1_000}


def a_task(task_id="task-1", status="queued", **fields):
    return {
        "id": task_id,
        "task_id": task_id,
        "description": "fix the parser",
        "status": status,
        "priority": 2,
        "lane": "normal",
        "needed_capabilities": [],
        "metadata": {},
        "target": None,
        "assigned_to": None,
        "last_holder": None,
        "generation": 0,
        "attempts": 0,
        "max_attempts": 3,
        "losses": 0,
        "max_losses": 3,
        "reason": "",
        "waiting": "",
        "question": "",
        "note": "",
        "percent": None,
        "result": None,
        "last_error": None,
        "submitted_by": "admin",
        "repo": "",
        "base_branch": "",
        "created_at": 1_000,
        "updated_at": 2_000,
        "not_before": None,
        "complete_by": None,
        "history": [],
        "evidence": [],
        **fields,
    }


class FakeHub:
    """`answers` maps (method, path) to (status, body), or to a list of them, one for each time."""

    def __init__(self):
        self.answers = {}
        self.asked = []
        self.listens = False
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self):
                length = int(self.headers.get("content-length") or 0)
                body = json.loads(self.rfile.read(length)) if length else None
                status, content = owner.answer(self.command, self.path, body, self.headers)
                data = json.dumps(content).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_PUT = do_DELETE = answer

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler, bind_and_activate=False)
        self.server.server_bind()
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def listen(self):
        """Until then a connection is refused."""
        self.server.server_activate()
        self.listens = True
        threading.Thread(
            target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        ).start()

    def answer(self, method, target, body, headers):
        parts = urlsplit(target)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        self.asked.append((method, parts.path, body, query, headers.get("authorization")))
        known = self.answers.get(
            (method, parts.path), (404, {"error": "not_found", "message": f"no {parts.path}"})
        )
        if isinstance(known, list):
            known = known.pop(0) if len(known) > 1 else known[0]
        return known

    def body(self, method, path):
        """What it was last sent there."""
        return next(ask[2] for ask in reversed(self.asked) if ask[:2] == (method, path))

    def close(self):
        if self.listens:
            self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def hub():
    made = FakeHub()
    made.listen()
    yield made
    made.close()


@pytest.fixture
def starting_hub():
    """One that does not listen yet; the test calls `listen`."""
    made = FakeHub()
    yield made
    made.close()


@pytest.fixture
def run(hub, tmp_path, monkeypatch):
    """Run a command against the fake hub, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    runner = CliRunner(env={"AGENTCOM_HUB": hub.url, "AGENTCOM_TOKEN": "secret", "COLUMNS": "120"})
    return lambda command, *arguments, **more: runner.invoke(command, [*map(str, arguments)], **more)


@pytest.fixture(name="a_task")
def a_task_fixture():
    return a_task


@pytest.fixture
def a_submitted():
    return SUBMITTED
