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


def put_before_renderers_had_canaries(place: Workspace, checkpoint: str, state: str, revision: int) -> None:
    """The rows that a deployment of a renderer left when it had gates alone."""
    row = {"id": f"d{revision}", "checkpoint": checkpoint, "before": "", "state": state, "reason": "passed 9 gates"}
    place.ledger.put(ledger.deployments, [{**row, "kind": "renderer", "begun_at": 1.0 + revision, "ended_at": 1.0}])
    stable = checkpoint if state == "serving" else ""
    serving = {"stable": stable, "canary": "", "share": 0.0, "revision": revision, "changed_at": 1.0}
    place.ledger.put(ledger.serving, [{"kind": "renderer", **serving}])


def test_a_renderer_goes_the_same_way_beside_the_motion_and_back_to_the_plain_warp(place: Workspace) -> None:
    deployments.first(place, "aaaaaaaa")
    put_before_renderers_had_canaries(place, "0000", "refused", 1)
    put_before_renderers_had_canaries(place, "rrrr", "serving", 2)
    deployments.settle(place, "identity", "iiii", "serving", "at once")
    assert deployments.wanted(place).stable == "aaaaaaaa+rrrr"
    revisions = [deployments.wanted(place).revision]
    made = deployments.begin(place, "ssss", "renderer")
    assert (made.before, made.kind) == ("rrrr", "renderer")
    with pytest.raises(ValueError, match="checkpoint ssss is being deployed; headroom deploy ssss completes it"):
        deployments.begin(place, "bbbbbbbb")
    deployments.to_canary(place, made, 0.2)
    now = deployments.wanted(place)
    revisions.append(now.revision)
    assert (now.stable, now.canary, now.share) == ("aaaaaaaa+rrrr", "aaaaaaaa+ssss", 0.2)
    deployments.promote(place, made, "as good")
    motion = deployments.begin(place, "bbbbbbbb")
    with pytest.raises(ValueError, match="checkpoint bbbbbbbb is being deployed"):
        deployments.begin(place, "tttt", "renderer")
    deployments.to_canary(place, motion, 0.3)
    now = deployments.wanted(place)
    revisions.append(now.revision)
    assert (now.stable, now.canary, now.share) == ("aaaaaaaa+ssss", "bbbbbbbb+ssss", 0.3)
    assert deployments.go_back(place).kind == "audio_to_motion", "what is under way ends, whatever its kind"
    deployments.settle(place, "identity", "jjjj", "serving", "at once")
    back = deployments.go_back(place)
    revisions.append(deployments.wanted(place).revision)
    assert (back.kind, back.checkpoint, back.reason) == (
        "renderer",
        "rrrr",
        "headroom deploy --rollback: back from ssss",
    )
    assert (deployments.wanted(place).stable, deployments.wanted(place).canary) == ("aaaaaaaa+rrrr", "")
    assert revisions == sorted(set(revisions))
    with pytest.raises(
        ValueError, match="rrrr serves by a roll-back already; headroom deploy ssss takes the other again"
    ):
        deployments.go_back(place)
    with pytest.raises(ValueError, match="no checkpoint served before"):
        deployments.go_back(place, "audio_to_motion")


def test_before_the_first_renderer_was_the_plain_warp(place: Workspace) -> None:
    put_before_renderers_had_canaries(place, "rrrr", "serving", 1)
    assert deployments.wanted(place).stable == "", "without a motion there is nothing to see"
    deployments.first(place, "aaaaaaaa")
    with pytest.raises(ValueError, match="no checkpoint served before"):
        deployments.go_back(place)
    back = deployments.go_back(place, "renderer")
    assert (back.checkpoint, back.name, deployments.wanted(place).stable) == ("", "the plain warp", "aaaaaaaa")
    with pytest.raises(ValueError, match="the plain warp serves by a roll-back already; headroom deploy rrrr takes"):
        deployments.go_back(place)
    assert deployments.parts_of(deployments.pair_of("aaaa", "rrrr")) == ("aaaa", "rrrr")
    assert deployments.parts_of(deployments.pair_of("aaaa", "")) == ("aaaa", "")


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
