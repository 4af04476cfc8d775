"""TLS: the same port, https and wss, for clients that trust the certificate and nobody else."""

import asyncio
import contextlib
from pathlib import Path

import httpx
import pytest

from agentcom.client import AgentSession, Hub
from agentcom.config import Config, Tls
from agentcom.protocol.errors import Unavailable
from agentcom.session_state import Online
from agentcom.web.server import BadTls, check_tls

HERE = Path(__file__).parent / "certificates"
CERT, KEY = str(HERE / "cert.pem"), str(HERE / "key.pem")
TLS = Tls(cert=CERT, key=KEY)


def test_a_client_and_a_session_reach_a_hub_that_speaks_tls(play):
    async def scene(hub):
        url = f"https://127.0.0.1:{hub.port}"
        async with Hub(url, "operator-token", ca_file=CERT) as client:
            assert await client.ready()
            assert (await client.submit("x")).status == "queued"
        async with AgentSession(url, agent_id="ada", token="agent-token", ca_file=CERT) as session:
            async with asyncio.timeout(20):
                assert isinstance(await anext(session), Online)

    play(scene, Config(tls=TLS))


def test_a_client_that_does_not_trust_it_stays_away_and_http_gets_no_answer(play):
    async def scene(hub):
        async with Hub(f"https://127.0.0.1:{hub.port}", "operator-token", retry_s=0) as stranger:
            with pytest.raises(Unavailable, match="CERTIFICATE_VERIFY_FAILED"):
                await stranger.repos()
        async with httpx.AsyncClient() as plain:
            with contextlib.suppress(httpx.HTTPError):
                answer = await plain.get(f"http://127.0.0.1:{hub.port}/ready")
                assert answer.status_code >= 400

    play(scene, Config(tls=TLS))


@pytest.mark.parametrize(
    ("tls", "named"),
    [
        (Tls(key=KEY), "tls.cert"),
        (Tls(cert="nowhere.pem"), "nowhere.pem"),
        (Tls(cert=CERT, key="nowhere.pem"), "nowhere.pem"),
        (Tls(cert=CERT), "tls.key"),
        (Tls(cert=str(Path(__file__)), key=KEY), "tls.cert"),
    ],
)
def test_a_certificate_that_cannot_be_used_is_named_before_anything_is_changed(tls, named):
    with pytest.raises(BadTls) as refused:
        check_tls(tls)
    assert named in str(refused.value)
    check_tls(TLS)
