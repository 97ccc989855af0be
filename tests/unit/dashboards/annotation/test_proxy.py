"""Behind a proxy that speaks TLS: whose forms are ours, whose word on addresses is believed, and how the cookie goes."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from starlette.testclient import TestClient

from dashboards.annotation.app import make_app
from dashboards.annotation.serve import checked_address
from infra.proxies import checked_proxies
from store import annotation_people
from tests.unit.dashboards.annotation.conftest import PASSWORD, House

PUBLIC = "https://label.example.org"
PROXY = "192.0.2.2"
FORM = {"login": "annotator", "password": PASSWORD}


def behind(house: House, *proxies: str, peer: str = PROXY, address: str = PUBLIC) -> TestClient:
    """Speaks plain HTTP to the app, from an address that is not this machine's, as a proxy elsewhere does."""
    site = dataclasses.replace(house.site, address=address, proxies=proxies or ("127.0.0.1",))
    return TestClient(make_app(site), base_url="http://label.example.org", follow_redirects=False, client=(peer, 1234))


def sent(**more: str) -> dict[str, str]:
    return {"origin": PUBLIC, "x-forwarded-proto": "https", **more}


def tried_from(house: House) -> list[Any]:
    rows = house.site.database.read(lambda c: annotation_people.log_rows(c, 1))
    return [json.loads(row["detail"])["address"] for row in rows]


@pytest.mark.parametrize("proxies", [(), (PROXY,)])
def test_people_sign_in_behind_a_proxy_whether_its_headers_are_believed_or_not(
    house: House, proxies: tuple[str, ...]
) -> None:
    reply = behind(house, *proxies).post("/sign-in", data=FORM, headers=sent())
    assert (reply.status_code, reply.headers["location"]) == (303, "/"), reply.text
    assert "; secure" in reply.headers["set-cookie"].lower()
    for origin in ("https://evil.example", "https://label.example.org.evil.example", "https://label.example.org:444"):
        assert behind(house, *proxies).post("/sign-in", data=FORM, headers=sent(origin=origin)).status_code == 403


def test_an_address_is_the_origin_that_browsers_write(house: House) -> None:
    for address in ("https://Label.example.org", "https://label.example.org:443"):
        reply = behind(house, address=address).post("/sign-in", data=FORM, headers=sent())
        assert reply.status_code == 303, address
    plain = behind(house, address="http://127.0.0.1:8600")
    reply = plain.post("/sign-in", data=FORM, headers={"origin": "http://label.example.org"})
    assert (reply.status_code, "; secure" in reply.headers["set-cookie"].lower()) == (303, False)


def test_the_log_and_the_throttle_take_the_visitors_address_from_a_trusted_proxy_alone(house: House) -> None:
    wrong, visitor = {**FORM, "password": "wrong password"}, sent(**{"x-forwarded-for": "9.9.9.9, 203.0.113.7"})
    cases = (
        (("192.0.2.0/24",), PROXY, "203.0.113.7"),
        ((PROXY, "203.0.113.7"), PROXY, "9.9.9.9"),
        ((), PROXY, PROXY),
        ((), "127.0.0.1", "203.0.113.7"),
        (("10.0.0.0/8",), "127.0.0.1", "127.0.0.1"),
    )
    for i, (proxies, peer, seen) in enumerate(cases):
        client = behind(house, *proxies, peer=peer)
        reply = client.post("/sign-in", data={**wrong, "login": f"nobody{i}"}, headers=visitor)
        assert (reply.status_code, tried_from(house)) == (401, [seen]), (proxies, peer)


def test_thirty_wrong_passwords_close_an_address_and_no_other(house: House) -> None:
    client = behind(house, PROXY)

    def tries(login: str, address: str, password: str = "wrong password") -> int:
        form = {"login": login, "password": password}
        return client.post("/sign-in", data=form, headers=sent(**{"x-forwarded-for": address})).status_code

    assert [tries(f"nobody{i}", "203.0.113.7") for i in range(30)] == [401] * 30
    assert tries("annotator", "203.0.113.7", PASSWORD) == 429, "the right password of somebody else neither"
    assert tries("annotator", "203.0.113.8", PASSWORD) == 303
    made_up = {"x-forwarded-for": "198.51.100.1, 203.0.113.7"}
    assert client.post("/sign-in", data=FORM, headers=sent(**made_up)).status_code == 429, "what a visitor made up"


def test_an_address_or_a_proxy_that_is_none_is_refused_at_the_start() -> None:
    assert checked_address("https://label.example.org/") == PUBLIC
    for address in ("label.example.org", "ftp://label.example.org", "https://", "https://label.example.org/desk"):
        with pytest.raises(ValueError, match="give scheme, host and port alone"):
            checked_address(address)
    assert checked_proxies(["127.0.0.1", "10.1.2.3/8", "::1"]) == ("127.0.0.1/32", "10.0.0.0/8", "::1/128")
    for proxy in ("proxy.example.org", "10.0.0.0/99", "*"):
        with pytest.raises(ValueError, match="--trusted-proxy: .*give an IP address or a network"):
            checked_proxies([proxy])
