"""What serves, and how it came to that: one row that changes together with its history, or not at all."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from store import deployments, ledger
from store.deployments import OvertakenError, Server
from store.workspace import Workspace, open_workspace


@pytest.fixture
def place(tmp_path: Path, either_ledger: str) -> Workspace:
    return open_workspace(tmp_path / "ws")


def told(place: Workspace) -> list[tuple[str, str, str]]:
    return [(d.checkpoint, d.before, d.state) for d in deployments.history(place)]


def test_a_checkpoint_goes_by_gates_and_canary_into_service(place: Workspace) -> None:
    assert deployments.serving(place).stable == ""
    assert deployments.first(place, "aaaaaaaa").stable == "aaaaaaaa"
    assert deployments.first(place, "cccccccc").stable == "aaaaaaaa", "what serves is not replaced by a start"
    made = deployments.begin(place, "bbbbbbbb")
    assert deployments.begin(place, "bbbbbbbb") == made, "a killed one goes on"
    with pytest.raises(
        ValueError, match="checkpoint bbbbbbbb is being deployed; headroom deploy bbbbbbbb completes it"
    ):
        deployments.begin(place, "cccccccc")
    now = deployments.to_canary(place, made, 0.1)
    assert (now.stable, now.canary, now.share, now.revision) == ("aaaaaaaa", "bbbbbbbb", 0.1, 2)
    now = deployments.promote(place, made, "as good")
    assert (now.stable, now.canary, now.share) == ("bbbbbbbb", "", 0.0)
    assert deployments.serving(place) == now
    assert told(place) == [("bbbbbbbb", "aaaaaaaa", "serving"), ("aaaaaaaa", "", "serving")]
    assert deployments.under_way(place) is None


def test_one_that_was_ended_by_somebody_else_changes_nothing_any_more(place: Workspace) -> None:
    deployments.first(place, "aaaaaaaa")
    made = deployments.begin(place, "bbbbbbbb")
    deployments.to_canary(place, made, 0.1)
    assert deployments.go_back(place).state == "rolled back"
    now = deployments.serving(place)
    with pytest.raises(OvertakenError, match="checkpoint bbbbbbbb is no canary any more"):
        deployments.promote(place, made, "as good")
    with pytest.raises(OvertakenError, match="was ended by somebody else"):
        deployments.to_canary(place, made, 0.1)
    with pytest.raises(OvertakenError, match="was changed meanwhile by somebody else"):
        deployments._change(place, replace(now, revision=now.revision - 1), now, made)
    assert deployments.serving(place) == now
    assert told(place)[0] == ("bbbbbbbb", "aaaaaaaa", "rolled back")


def test_one_that_is_refused_was_never_a_canary(place: Workspace) -> None:
    deployments.first(place, "aaaaaaaa")
    before = deployments.serving(place)
    deployments.end(place, deployments.begin(place, "bbbbbbbb"), "refused", "NaN weights")
    assert replace(deployments.serving(place), revision=1, changed_at=0) == replace(before, changed_at=0)
    assert deployments.history(place)[0].reason == "NaN weights"


def test_a_roll_back_goes_back_once(place: Workspace) -> None:
    with pytest.raises(ValueError, match="no checkpoint served before"):
        deployments.go_back(place)
    deployments.first(place, "aaaaaaaa")
    with pytest.raises(ValueError, match="no checkpoint served before"):
        deployments.go_back(place)
    made = deployments.begin(place, "bbbbbbbb")
    deployments.to_canary(place, made, 0.1)
    deployments.promote(place, made, "as good")
    assert deployments.go_back(place).checkpoint == "aaaaaaaa"
    assert deployments.serving(place).stable == "aaaaaaaa"
    with pytest.raises(
        ValueError, match="serves by a roll-back already; headroom deploy bbbbbbbb takes the other again"
    ):
        deployments.go_back(place)


def test_servers_say_that_they_are_there_until_they_leave(place: Workspace) -> None:
    one, other = (Server(i, f"http://127.0.0.1:{n}", "key", n, 0.0) for i, n in (("s1", 1), ("s2", 2)))
    deployments.announce(place, one)
    deployments.announce(place, other)
    deployments.announce(place, one)
    assert [s.url for s in deployments.servers(place)] == [one.url, other.url]
    deployments.withdraw(place, other)
    place.ledger.put(ledger.servers, [{"id": "s0", "url": "u", "key": "k", "pid": 3, "seen_at": 1.0}])
    deployments.announce(place, one)
    assert [s.id for s in deployments.servers(place)] == ["s1"], "one that was killed is forgotten after a day"


def test_a_ledger_that_cannot_be_read_is_a_lost_connection(place: Workspace) -> None:
    deployments.serving(place)
    place.ledger.drop(ledger.servers.delete())
    with place.ledger.engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE serving")
        connection.exec_driver_sql("DROP TABLE servers")
    with pytest.raises(ConnectionError, match="can't be read now"):
        deployments.serving(place)
    with pytest.raises(ConnectionError, match="can't be written now"):
        deployments.announce(place, Server("s1", "u", "k", 1, 0.0))
