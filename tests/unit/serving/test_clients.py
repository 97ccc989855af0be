"""What one client may take, by its own address or by what a trusted proxy says of it."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest
from starlette.testclient import TestClient

from serving import clients
from serving.clients import Openings, Share, TooManyError, client_of
from serving.gateway import make_app
from serving.routing import Gateway
from serving.sessions import Sessions
from tests.unit.serving.talker import head, held, local_worker
from tests.unit.serving.test_gateway import PROBE, closed, ready

ANNA = {"avatar": "anna"}


def app_of(share: Share, *proxies: str) -> tuple[Gateway, partial[TestClient]]:
    """A gateway with room for eight, and its clients by their address."""
    gateway = Gateway([head("anna")], "secret", share=share)
    app = make_app(gateway, partial(local_worker, gateway, Sessions(held(), 8)), proxies=proxies)
    return gateway, partial(TestClient, app)


def sent(*addresses: str) -> dict[str, str]:
    return {"x-forwarded-for": ", ".join(addresses)}


def test_one_address_gets_its_share_of_the_sessions_and_no_more() -> None:
    gateway, reached = app_of(Share(2, 0))
    with reached(client=("203.0.113.7", 1)) as client:
        made = [ready(client).post("/api/sessions", json=ANNA) for _ in range(3)]
        assert [m.status_code for m in made] == [201, 201, 429]
        assert made[2].json()["error"] == "your address has 2 sessions, and may have no more at a time; end one"
        assert made[2].headers["retry-after"] == "5"
        other = TestClient(client.app, client=("203.0.113.8", 1))
        other.portal = client.portal
        assert other.post("/api/sessions", json=ANNA).status_code == 201, "others lose nothing by it"
        assert client.post("/api/sessions", json=ANNA, headers=PROBE).status_code == 201, "a probe is no client"
        told = made[0].json()
        with client.websocket_connect(f"/api/sessions/{told['id']}") as line:
            line.send_json({"token": told["token"]})
            line.send_text("end")
            closed(line)
        assert client.post("/api/sessions", json=ANNA).status_code == 201, "what ended is not counted"
        assert len(gateway.talks) == 4


def test_one_address_may_open_so_many_sessions_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(clients.time, "monotonic", lambda: now[0])
    opened = Openings(Share(0, 3))
    for _ in range(3):
        opened.count("a", 0)
        now[0] += 10
    with pytest.raises(TooManyError, match="opened 3 sessions within a minute.*try again in 30 s") as refused:
        opened.count("a", 0)
    assert refused.value.again_s == 30
    opened.count("b", 0)
    now[0] += 31  # the first is over a minute old; what was refused does not count
    opened.count("a", 0)
    with pytest.raises(TooManyError, match="opened 3 sessions"):
        opened.count("a", 0)
    now[0] += 61
    opened.count("c", 0)
    assert set(opened._of) == {"c"}, "nothing is kept of those who are gone"


def test_openings_that_are_under_way_count_too() -> None:
    gateway = Gateway([head("anna")], share=Share(2, 0))

    async def three() -> list[object]:
        worker = asyncio.create_task(local_worker(gateway, Sessions(held(), 8)))
        await gateway.came.wait()
        asked = (gateway.open("anna", client="a") for _ in range(3))
        made: list[object] = list(await asyncio.gather(*asked, return_exceptions=True))
        worker.cancel()
        await asyncio.gather(worker, return_exceptions=True)
        return made

    assert [isinstance(made, TooManyError) for made in asyncio.run(three())] == [False, False, True]
    assert not gateway._opening, "and nothing is kept of them"


@pytest.mark.parametrize(
    ("proxies", "statuses"),
    [
        ((), [201, 429, 429]),
        (("192.0.2.0/24",), [201, 201, 429]),
        (("198.51.100.0/24",), [201, 429, 429]),
    ],
)
def test_only_a_trusted_proxy_says_whose_address_it_is(proxies: tuple[str, ...], statuses: list[int]) -> None:
    _, reached = app_of(Share(1, 0), *proxies)
    with reached(client=("192.0.2.2", 1)) as client:
        ready(client)
        told = (sent("203.0.113.7"), sent("203.0.113.8"), sent("9.9.9.9", "203.0.113.8"))
        assert [client.post("/api/sessions", json=ANNA, headers=h).status_code for h in told] == statuses


def test_an_ipv6_house_is_one_client() -> None:
    assert client_of("2001:db8:1:2::5") == client_of("2001:db8:1:2:ffff::9%eth0") == "2001:db8:1:2::/64"
    assert client_of("2001:db8:1:3::5") != client_of("2001:db8:1:2::5")
    assert client_of("::ffff:203.0.113.7") == client_of("203.0.113.7") == "203.0.113.7"
    assert client_of("testclient") == "testclient"
