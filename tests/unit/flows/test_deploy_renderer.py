"""Deployments of renderers to a real gateway on a free port, by ones that are good and bad in each way."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch

import headroom
from flows import deploy as flow
from flows import deploy_gates, deploy_renderer
from flows.deploy_servers import reached
from serving import refined_face, routing
from serving.engine import Module
from serving.refined_face import Drawing
from store import deployments, registry
from store.deployments import Server
from store.workspace import Workspace, open_workspace
from tests.unit.flows.test_deploy import (
    SPEECH_S,
    Killed,
    Told,
    deployed,
    lively,
    published,
    quick,  # noqa: F401 - for the tests here
    served,
    stand_in,  # noqa: F401 - for the tests here
)
from tests.unit.flows.test_deploy_gates import LIVE
from tests.unit.flows.test_renderer import good
from tests.unit.serving.faces import net, publish
from tests.unit.serving.talker import promoted


@pytest.fixture
def place(tmp_path: Path) -> Workspace:
    return open_workspace(tmp_path / "ws")


def drawn(place: Workspace, seed: int = 0, **more: Any) -> str:
    return publish(place, net(seed, painted=0.02), metrics=good(), **more)


def weights_of(place: Workspace, checkpoint: str) -> Path:
    return place.objects.local(registry.checkpoint_row(place, checkpoint)["uri"]).parent / "weights.safetensors"


class Spoilt:
    """A renderer whose gates passed and that draws otherwise on the server: late, or always the same mouth."""

    def __init__(self, drawing: Drawing, pause_s: float = 0.0, *, frozen: bool = False) -> None:
        self._step, self._pause_s, self._frozen = drawing.step, pause_s, frozen
        self._kept: np.ndarray | None = None

    def __call__(self, given: np.ndarray, identity: np.ndarray, state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        time.sleep(self._pause_s)
        made, after = self._step(given, identity, state)
        self._kept = made if self._kept is None else self._kept
        return (self._kept if self._frozen else made), after


def test_a_good_one_draws_for_everybody_and_frozen_slow_and_broken_ones_do_not(
    place: Workspace,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    motion = published(place, lively(0))
    spoilt: dict[str, dict[str, Any]] = {}
    load = refined_face.renderer_module

    def loaded(workspace: Workspace, checkpoint: str | None = None) -> Module[Drawing] | None:
        made = load(workspace, checkpoint)
        if made is None or made.checkpoint not in spoilt:
            return made
        return replace(made, model=replace(made.model, step=Spoilt(made.model, **spoilt[made.checkpoint])))

    monkeypatch.setattr(refined_face, "renderer_module", loaded)
    monkeypatch.setattr(deploy_gates, "LEAST_FPS", 10.0)
    monkeypatch.setattr(routing, "KEPT_S", 600.0)  # nobody watches the session below
    with served(place) as (sessions, server):
        httpx.post(f"{server.url}/api/sessions", json={"avatar": "drawn"}).raise_for_status()
        (live,) = sessions.lives.values()
        assert live.checkpoint == motion
        fine = drawn(place)
        by = Told()
        told = deployed(place, fine, by)
        assert told["state"] == "serving", told["reason"]
        assert by.names == ["gates", "canary", "load", "compare", "promote", "switch"]
        assert live.checkpoint == sessions.checkpoints.serving == f"{motion}+{fine}"
        assert "avatar: sharpness" in by.pages["deploy-gates"]
        assert "beside the plain warp" in by.pages["deploy-gates"]
        assert "| frame_change |" in by.pages["deploy-comparison"]
        assert sessions.slowest_switch_s < 0.02
        assert deployments.serving(place).stable == motion, "what makes motion is another matter"

        frozen = drawn(place, 1)
        spoilt[frozen] = {"frozen": True}
        monkeypatch.setattr(flow, "SPEECH_S", 4.0)  # a few words are too few to tell
        told = deployed(place, frozen)
        monkeypatch.setattr(flow, "SPEECH_S", SPEECH_S)
        assert told["state"] == "rolled back"
        assert "mouth_shown is" in told["reason"]

        monkeypatch.setattr(flow, "LOOKS", 1)
        slow = drawn(place, 2)
        spoilt[slow] = {"pause_s": 0.2}
        told = deployed(place, slow)
        assert told["state"] == "rolled back"
        assert "fps is" in told["reason"]

        broken = drawn(place, 3)

        def corrupt(name: str) -> None:
            if name == "canary":  # after the gates, before the server reads it
                file = weights_of(place, broken)
                file.write_bytes(file.read_bytes()[:-1] + b"x")

        told = deployed(place, broken, Told(corrupt))
        assert told["state"] == "rolled back"
        assert "its weights are not what was published" in told["reason"]
        assert live.checkpoint == sessions.checkpoints.serving == f"{motion}+{fine}"

        back = flow.run_rollback(place.settings.workspace)
        assert (back["kind"], back["checkpoint"], back["stable"]) == ("renderer", "", "")
        until = time.monotonic() + 20
        while live.checkpoint != motion and time.monotonic() < until:
            time.sleep(0.02)
        assert live.checkpoint == sessions.checkpoints.serving == motion, "before the first one was the plain warp"


def test_a_server_that_draws_by_its_own_is_left_as_it_is(place: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deploy_gates, "LEAST_FPS", 1.0)  # the machine may be busy
    motion, own = published(place, lively(0)), drawn(place)
    with served(place, renderer=own) as (sessions, server):
        assert sessions.checkpoints.serving == f"{motion}+{own}"
        there, away = reached(place, "renderer")
        assert there == []
        assert away == {server.url: "left as it is: here draw by a renderer of their own (--renderer)"}
        assert [s.url for s in reached(place)[0]] == [server.url]
        other = published(place, lively(1))
        told = deployed(place, other)
        assert told["state"] == "serving", told["reason"]  # what makes its motion is deployed as ever
        assert sessions.checkpoints.serving == f"{other}+{own}"


# What never becomes a canary


def nan_weights(place: Workspace) -> str:
    made = net()
    with torch.no_grad():
        made.leave.bias[0] = float("nan")  # type: ignore[index]
    return publish(place, made, metrics=good())


def overflowing(place: Workspace) -> str:
    made = net()
    with torch.no_grad():
        made.leave.weight.fill_(3e38)
    return publish(place, made, metrics=good())


def wrong_shape(place: Workspace) -> str:
    return publish(place, net(), metrics=good(), recipe={**asdict(net().recipe), "width": 12})


def wrong_sha256(place: Workspace) -> str:
    name = drawn(place)
    weights_of(place, name).write_bytes(b"other")
    return name


def no_weights(place: Workspace) -> str:
    return publish(place, net(), b"rubbish", metrics=good())


def rubbish_graph(place: Workspace) -> str:
    name = drawn(place)
    place.objects.put_bytes(b"rubbish", registry.exported_key(name))
    return name


def never_evaluated(place: Workspace) -> str:
    return publish(place, net(), data={"clips": {}, "people": {}})


def blurred(place: Workspace) -> str:
    return publish(place, net(), metrics=good(sharpness=0.2))


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (nan_weights, "leave.bias holds values that are not finite"),
        (overflowing, "draws values that are not finite"),
        (wrong_shape, "its weights don't fit its recipe"),
        (wrong_sha256, "its weights are not what was published"),
        (no_weights, "its weights don't fit its recipe"),
        (rubbish_graph, "its graph can't be read"),
        (never_evaluated, "was never evaluated and can't be now"),
        (blurred, "avatar: sharpness is 0.2, must be at least 0.7"),
    ],
)
def test_a_bad_one_never_becomes_a_canary_and_the_reason_is_told(
    place: Workspace,
    bad: Callable[[Workspace], str],
    why: str,
) -> None:
    motion = published(place, lively(0))
    deployments.first(place, motion)
    by = Told()
    told = deployed(place, bad(place), by)
    assert told["state"] == "refused"
    assert why in told["reason"]
    assert told["reason"].count(told["checkpoint"]) == 1
    assert "canary" not in by.names
    assert deployments.wanted(place).stable == motion
    assert deployments.wanted(place).canary == ""
    assert deployments.history(place, "renderer")[0].reason == told["reason"]


def test_one_that_takes_too_long_for_a_frame_is_refused(place: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    deployments.first(place, published(place, lively(0)))
    ready = deploy_renderer.step_ready

    def slowly(workspace: Workspace, found: registry.Checkpoint) -> Any:
        made, step = ready(workspace, found)

        def busy(*given: np.ndarray) -> Any:
            until = time.process_time() + 0.02
            while time.process_time() < until:
                pass
            return step(*given)

        return made, busy

    monkeypatch.setattr(deploy_renderer, "step_ready", slowly)
    told = deployed(place, drawn(place))
    assert told["state"] == "refused"
    assert "frame_ms is 2" in told["reason"]


# Without a server: where it may be killed, and what cannot be done


class Dying(Told):
    """Killed before or after a step."""

    def __init__(self, last: str, *, late: bool) -> None:
        super().__init__()
        self._last, self._late = last, late

    def step(self, name: str, told: str, run: Callable[[], Any]) -> Any:
        if name == self._last and not self._late:
            raise Killed
        made = super().step(name, told, run)
        if name == self._last:
            raise Killed
        return made


@pytest.mark.parametrize("good_one", [True, False])
def test_killed_before_or_after_any_step_and_run_again_it_comes_to_the_same_end(
    tmp_path: Path,
    stand_in: dict[str, Any],  # noqa: F811
    good_one: bool,
) -> None:
    ends = []
    steps = ["gates", "canary", "load", "compare", "promote" if good_one else "rolled back", "switch"]
    for number, (step, after) in enumerate((s, a) for s in steps for a in (False, True)):
        place = open_workspace(tmp_path / f"ws{number}")
        motion, before = published(place, lively(0)), drawn(place, 1)
        deployments.first(place, motion)
        promoted(place, before, "renderer")
        name = drawn(place, 2)
        stand_in[f"{motion}+{name}"] = LIVE if good_one else {**LIVE, "frame_change": 0.0}

        try:
            deployed(place, name, Dying(step, late=after))
        except Killed:
            if deployments.under_way(place) is None:
                assert step in ("promote", "rolled back", "switch")
            elif deployments.serving(place, "renderer").stable != name:
                deployed(place, name)
        now, wanted = deployments.serving(place, "renderer"), deployments.wanted(place)
        assert wanted.stable == f"{motion}+{now.stable}"
        told = [d.state for d in deployments.history(place, "renderer")]
        ends.append(
            (now.stable == name, wanted.canary, wanted.share, told, deployments.serving(place).stable == motion)
        )
    assert set(map(str, ends)) == {
        str((good_one, "", 0.0, ["serving" if good_one else "rolled back", "serving"], True))
    }


def test_both_kinds_are_deployed_one_after_the_other_each_beside_what_serves(
    place: Workspace,
    stand_in: dict[str, Any],  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    probed = list[str]()
    probe = flow.deploy_probe.probe

    def seen(server: Server, pair: str, sound: np.ndarray, seed: int) -> Any:
        probed.append(pair)
        return probe(server, pair, sound, seed)

    monkeypatch.setattr(flow.deploy_probe, "probe", seen)
    root = place.settings.workspace
    name = drawn(place)
    with pytest.raises(ValueError, match=f"renderer {name} draws motion, and no checkpoint makes any"):
        flow.run_deploy(root, name)
    first, second = published(place, lively(0)), published(place, lively(1))
    deployments.first(place, first)
    assert deployed(place, name)["state"] == "serving"
    assert deployed(place, second)["state"] == "serving"
    assert probed == [first, f"{first}+{name}", f"{first}+{name}", f"{second}+{name}"]
    told = flow.run_deploy(root, name[:8])
    assert (told["did"], told["kind"]) == ("nothing", "renderer")
    assert flow.run_rollback(root)["checkpoint"] == first
    with pytest.raises(ValueError, match="rollback: kind 'motion' is none of audio_to_motion, renderer"):
        flow.run_rollback(root, "motion")
    assert flow.run_rollback(root, "renderer")["stable"] == ""
    assert deployments.wanted(place).stable == first


def test_one_that_cannot_be_gone_back_to_is_not(place: Workspace) -> None:
    deployments.first(place, published(place, lively(0)))
    bad, fine = wrong_sha256(place), drawn(place, 1)
    promoted(place, bad, "renderer")
    promoted(place, fine, "renderer")
    with pytest.raises(ValueError, match="its weights are not what was published"):
        flow.run_rollback(place.settings.workspace)
    assert deployments.serving(place, "renderer").stable == fine


def test_a_kind_is_named_to_go_back_only(place: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    published(place, lively(0))
    with pytest.raises(SystemExit):
        headroom.main(["deploy", "--kind", "renderer", "--workspace", str(place.settings.workspace)])
    assert "deploy: --kind renderer is of --rollback" in " ".join(capsys.readouterr().err.split())
