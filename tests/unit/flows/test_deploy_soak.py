"""A canary's share of the viewers, on real gateways and with sums that are known."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import headroom
from flows import deploy as flow
from flows import deploy_gates, deploy_soak
from flows.deploy_probe import ProbeError, speech, watched
from flows.deploy_soak import _added, _judged
from headroom.options import seconds_of
from modeling.audio_to_motion import MotionNet
from serving import talking
from store import deployments, registry
from store.deployments import OvertakenError, Server, Serving
from store.workspace import Workspace, open_workspace
from tests.unit.flows.test_deploy import (
    SPEECH_S,
    Killed,
    Told,
    lively,
    published,
    quick,  # noqa: F401 - for the tests here
    served,
    stand_in,  # noqa: F401 - for the tests here
)

FRAMES = 60


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setattr(deploy_soak, "LEAST_FRAMES", FRAMES)
    monkeypatch.setattr(deploy_soak, "POLL_S", 0.1)
    return open_workspace(tmp_path / "ws")


def soaked(place: Workspace, checkpoint: str, by: Told, soak_s: float = 600.0) -> dict[str, Any]:
    return flow.deploy(place, flow.begun(place, checkpoint), 0.5, None, by, soak_s)


@contextmanager
def viewers(*servers: Server) -> Iterator[list[str]]:
    """Who come and speak, one after the other on each server, until the block ends: the checkpoints that they saw."""
    over, seen = threading.Event(), list[str]()

    def come(server: Server) -> None:
        while not over.is_set():
            try:
                seen.append(watched(server, {"avatar": "drawn"}, {}, speech(SPEECH_S)).checkpoint)
            except ProbeError:
                over.wait(0.2)  # the one before is about to leave

    threads = [threading.Thread(target=come, args=(server,)) for server in servers]
    for thread in threads:
        thread.start()
    try:
        yield seen
    finally:
        over.set()
        for thread in threads:
            thread.join(60)


def frames_seen(place: Workspace, checkpoint: str) -> float:
    """By viewers, of one that is under way, as the ledger has it."""
    told = deployments.under_way(place)
    kept = deployments.soaked(place, told) if told else None
    return sum(sums["frames"] for pair, sums in kept.sums.items() if pair == checkpoint) if kept else 0.0


def test_viewers_of_two_servers_decide_beside_the_probes(place: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deploy_gates, "LEAST_FPS", 5.0)
    stable = published(place, lively(0))
    with served(place) as (_, one), served(place) as (_, other), viewers(one, other) as seen:
        good, began = published(place, lively(1)), time.time()
        enough = lambda: frames_seen(place, good) >= FRAMES <= frames_seen(place, stable)  # noqa: E731
        monkeypatch.setattr(deploy_soak, "clock", lambda: began + (1000 if enough() else 0))
        by = Told()
        told = soaked(place, good, by)
        assert told["state"] == "serving", told["reason"]
        assert by.names == ["gates", "canary", "load", "compare", "compare", "soak", "promote", "switch"]
        assert "frames that viewers saw of it" in told["reason"]
        assert {"fps", "skew_ms", "frame_change"} <= set(by.pages["deploy-soak"].split())
        assert {stable, good} <= set(seen)

        slow, load, spoilt = published(place, lively(2)), talking.network, threading.Event()

        def later_slow(found: registry.Checkpoint) -> MotionNet:
            net = load(found)
            if found.id == slow:
                net.register_forward_pre_hook(lambda *_: time.sleep(0.5) if spoilt.is_set() else None)
            return net

        monkeypatch.setattr(talking, "network", later_slow)
        monkeypatch.setattr(deploy_soak, "clock", lambda: began)
        monkeypatch.setattr(deploy_soak, "LOOKS", 1)
        told = soaked(place, slow, Told(lambda name: spoilt.set() if name == "soak" else None))
        assert told["state"] == "rolled back"
        assert "viewers' sessions, " in told["reason"]
        assert "fps is" in told["reason"]
        assert (deployments.serving(place).stable, deployments.serving(place).canary) == (good, "")


def test_without_viewers_within_the_time_it_says_so_and_probes_decide(
    place: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deploy_gates, "LEAST_FPS", 5.0)
    published(place, lively(0))
    with served(place):
        by = Told()
        told = soaked(place, published(place, lively(1)), by, soak_s=0.3)
    assert told["state"] == "serving", told["reason"]
    assert told["reason"].endswith("viewers saw 0 frames of it within 0.3 s, fewer than 60: probes alone decide")
    assert "viewers saw 0 frames" in by.pages["deploy-soak"], "those of the probes do not count"


def of_viewers(frames: float) -> dict[str, float]:
    return {"frames": frames, "busy_s": frames / 50, "changes": frames, "change": frames, "ticks": frames / 2, "underruns": 0.0,
            "skews": frames, "skew_ms": -2 * frames, "first_fragments": 0, "first_fragment_s": 0.0}  # fmt: skip


def test_killed_while_it_soaks_and_run_again_it_goes_on_with_what_it_saw(
    place: Workspace,
    stand_in: dict[str, Any],  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stable, name = published(place, lively(0)), published(place, lively(1))
    deployments.first(place, stable)
    at, frames = [1000.0], [0.0]
    monkeypatch.setattr(deploy_soak, "clock", lambda: at[0])
    deployments.announce(place, Server("s1", "http://one", "key", 1, 0.0))

    def state(server: Server) -> dict[str, Any]:
        frames[0] += 25
        if frames[0] in (100, 400):
            raise Killed
        at[0] += 1
        return {"vitals": {name: of_viewers(frames[0]), stable: of_viewers(10 * frames[0])}}

    monkeypatch.setattr(deploy_soak, "state_of", state)
    monkeypatch.setattr(deploy_soak, "LEAST_FRAMES", 100)
    monkeypatch.setattr(deploy_soak, "POLL_S", 0.0)
    with pytest.raises(Killed):
        soaked(place, name, Told(), soak_s=20.0)
    assert frames_seen(place, name) == 50, "25 were there before"
    frames[0] = 200  # what was put out meanwhile nobody has seen
    with pytest.raises(Killed):
        soaked(place, name, Told(), soak_s=20.0)
    assert frames_seen(place, name) == 50 + 150
    assert at[0] < 1020
    told = soaked(place, name, Told(), soak_s=20.0)
    assert told["state"] == "serving"
    assert "passed 4 on" in told["reason"]
    assert at[0] == pytest.approx(1020, abs=1), "its time went on from the first begin"


def test_a_soak_that_somebody_ends_promotes_nothing(place: Workspace, stand_in: dict[str, Any]) -> None:  # noqa: F811
    stable, name = published(place, lively(0)), published(place, lively(1))
    deployments.first(place, stable)
    ended = Told(lambda step: deployments.go_back(place) and None if step == "soak" else None)
    with pytest.raises(OvertakenError, match="was ended by somebody else"):
        soaked(place, name, ended)
    assert deployments.serving(place).stable == stable


def test_what_comes_on_top_counts_and_what_is_worse_fails_by_name() -> None:
    before = {"s1": {"c": {"frames": 10.0}}}
    after = {"s1": {"c": {"frames": 30.0}, "d": {"frames": 5.0}}, "s2": {"c": {"frames": 500.0}}}
    assert _added({"c": {"frames": 1.0}}, before, after) == {"c": {"frames": 21.0}, "d": {"frames": 5.0}}

    now = Serving(stable="a+r", canary="c+r")
    fine, many = of_viewers(2000), of_viewers(9000)
    assert _judged({"c+r": fine, "a+r": many}, now, "audio_to_motion", 60).reason == ""
    assert "passed 4 on 2000" in _judged({"c+own": fine, "a+r": many}, now, "audio_to_motion", 60).told
    assert "fewer than 1500" in _judged({"c+own": fine, "a+r": many}, now, "renderer", 60).told
    for changed, why in (
        ({"change": 200.0}, "frame_change is 0.1, must be at least 0.3 (the checkpoint that serves has 1)"),
        ({"busy_s": 100.0}, "fps is 20, must be at least 27.5 (the checkpoint that serves has 50)"),
        ({"underruns": 1500.0}, "underrun_ratio is 1.5"),
        ({"skew_ms": -2000 * 60.0}, "skew_ms is 60"),
        ({"first_fragments": 4, "first_fragment_s": 24.0}, "first_fragment_s is 6,"),
    ):
        assert why in _judged({"c+r": {**fine, **changed}, "a+r": many}, now, "audio_to_motion", 60).reason


def test_how_long_it_soaks_is_written_as_people_do(place: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    assert [seconds_of(text) for text in ("90s", "10m", "2h", "0.5m")] == [90, 600, 7200, 30]
    for text, why in (("10", "write it as 90s"), ("m", "write it as 90s"), ("-1m", "above 0"), ("", "write it as 90s")):
        with pytest.raises(ValueError, match=why):
            seconds_of(text)
    with pytest.raises(SystemExit):
        headroom.main(["deploy", "--soak", "10m", "--workspace", str(place.settings.workspace)])
    assert "--soak is of a checkpoint" in " ".join(capsys.readouterr().err.split())
