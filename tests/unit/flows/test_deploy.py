"""Deployments to a real gateway on a free port, by checkpoints that are good and bad in each way."""

from __future__ import annotations

import functools
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import uvicorn

from dashboards import deployment
from flows import deploy as flow
from flows import deploy_gates
from flows.deploy_probe import ProbeError, probe, speech, state_of
from modeling.audio_to_motion import MotionNet
from serving import follow, live, remote, talking
from serving.gateway import make_app
from serving.join import held_by
from serving.routing import Gateway
from serving.serve import listening, server_at
from serving.sessions import Sessions
from serving.speech_motion import MotionStream
from store import deployments, registry
from store.deployments import OvertakenError, Server
from store.workspace import Workspace, open_workspace
from tests.unit.flows.test_deploy_gates import LIVE, metrics
from tests.unit.serving.talker import IDLE, head, local_worker, promoted, tiny

SPEECH_S = 1.6


@functools.cache
def lively(seed: int) -> MotionNet:
    """A network whose jaw opens with the loudness of speech by about one standard deviation: its last layer is fitted."""
    net, sound = tiny(seed=seed), speech(4.0).astype(np.float32) / 32768
    hidden: list[torch.Tensor] = []
    hook = net.out.register_forward_pre_hook(lambda _, told: hidden.append(told[0][0].detach()))
    _, loud = MotionStream(net, IDLE, 0).push(sound)
    hook.remove()
    rows = torch.cat([torch.cat(hidden), torch.ones(len(loud), 1)], dim=1).double()
    wanted = torch.from_numpy(1 + (np.maximum(loud, -42.0) + 25) / 8)
    found = torch.linalg.solve(rows.T @ rows + 0.1 * torch.eye(rows.shape[1]), rows.T @ wanted).float()
    with torch.no_grad():
        net.out.weight[0], net.out.bias[0] = found[:-1], found[-1]
    return net


def published(
    place: Workspace, net: MotionNet, told: dict[str, Any] | None = None, weights: bytes | None = None
) -> str:
    from safetensors.torch import save

    card = {
        "kind": "audio_to_motion",
        "recipe": {**asdict(net.recipe), "name": "audio_to_motion"},
        "idle": json.loads(json.dumps(IDLE.to_dict())),
        "snapshot": {"id": "s0", "sha256": "0", "tier": "t"},
        "metrics": metrics(),
    }
    data = weights or save({k: v.contiguous() for k, v in net.state_dict().items()})
    return registry.publish(place, data, {**card, **(told or {})}).id


@pytest.fixture
def place(tmp_path: Path) -> Workspace:
    return open_workspace(tmp_path / "ws")


@dataclass
class Told:
    """Steps as they come; `at` is called before one."""

    at: Callable[[str], None] = lambda name: None
    names: list[str] = field(default_factory=list)
    pages: dict[str, str] = field(default_factory=dict)

    def step(self, name: str, told: str, run: Callable[[], Any]) -> Any:
        self.names.append(name)
        self.at(name)
        return run()

    def show(self, key: str, description: str, markdown: str) -> None:
        self.pages[key] = markdown


def deployed(place: Workspace, checkpoint: str, by: Told | None = None, share: float = 0.5) -> dict[str, Any]:
    return flow.deploy(place, flow.begun(place, checkpoint), share, None, by or Told())


@contextmanager
def served(place: Workspace, renderer: str | None = None) -> Iterator[tuple[Sessions, Server]]:
    """A real server on a free port that follows the ledger, with a worker in this process."""
    gateway, sessions = Gateway([head()], "key"), Sessions(held_by(place, renderer=renderer), 2)
    listener = listening("127.0.0.1", 0)
    server = server_at(f"http://127.0.0.1:{listener.getsockname()[1]}", gateway)
    following = functools.partial(follow.follow, gateway, place, server)
    app = make_app(gateway, functools.partial(local_worker, gateway, sessions), following)
    running = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False))
    thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        until = time.monotonic() + 60
        while server.id not in {s.id for s in deployments.servers(place)} or state_of(server) is None:
            assert thread.is_alive(), f"the gateway at {server.url} ended before it served"
            assert time.monotonic() < until, f"the gateway at {server.url} is not in the ledger, or does not answer"
            time.sleep(0.02)
        yield sessions, server
    finally:
        running.should_exit = True
        thread.join(20)
        listener.close()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Short speech, and limits of time that hold on a busy machine."""
    monkeypatch.setattr(flow, "SPEECH_S", SPEECH_S)
    monkeypatch.setattr(flow, "SEEDS", (0,))
    monkeypatch.setattr(follow, "POLL_S", 0.05)
    monkeypatch.setattr(remote, "LOST_S", 30.0)  # a machine that is busy for seconds is no dead worker
    monkeypatch.setattr(deploy_gates, "LEAST_FIRST_S", 5.0)
    monkeypatch.setattr(deploy_gates, "UNDERRUN_MORE", 1.0)
    monkeypatch.setattr(deploy_gates, "FPS_RATIO", 0.2)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_a_good_one_serves_everybody_and_frozen_slow_and_broken_ones_do_not(
    place: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = published(place, lively(0))
    with served(place) as (sessions, server):
        good = published(place, lively(1))
        by = Told()
        told = deployed(place, good, by)
        assert (told["state"], by.names) == ("serving", ["gates", "canary", "load", "compare", "promote", "switch"]), (
            told
        )
        assert deployments.serving(place).stable == sessions.checkpoints.serving == good
        assert set(by.pages) == {"deploy-gates", "deploy-canary", "deploy-comparison", "deploy-result"}
        assert "| mouth_range |" in by.pages["deploy-comparison"]
        assert [(d.checkpoint, d.state) for d in deployments.history(place)] == [(good, "serving"), (old, "serving")]

        frozen = tiny()
        with torch.no_grad():
            frozen.out.weight.zero_()
            frozen.out.bias[:4] = 1.0  # a mouth that stands open
        told = deployed(place, published(place, frozen))
        assert told["state"] == "rolled back"
        assert "mouth_range is" in told["reason"]

        monkeypatch.setattr(deploy_gates, "LEAST_FPS", 15.0)
        monkeypatch.setattr(flow, "LOOKS", 1)
        slow, load = published(place, lively(2)), talking.network

        def slowly(found: registry.Checkpoint) -> MotionNet:
            net = load(found)
            if found.id == slow:
                net.register_forward_pre_hook(lambda *_: time.sleep(0.2))
            return net

        monkeypatch.setattr(talking, "network", slowly)
        told = deployed(place, slow)
        assert told["state"] == "rolled back"
        assert "fps is" in told["reason"]

        broken = published(place, lively(3))

        def corrupt(name: str) -> None:
            if name == "canary":  # after the gates, before the server reads it
                file = place.objects.local(registry.checkpoint_row(place, broken)["uri"]).parent / "weights.safetensors"
                file.write_bytes(file.read_bytes()[:-1] + b"x")

        told = deployed(place, broken, Told(corrupt))
        assert told["state"] == "rolled back"
        assert "its weights are not what was published" in told["reason"]
        assert deployments.serving(place).stable == sessions.checkpoints.serving == good
        assert flow.run_rollback(place.settings.workspace)["checkpoint"] == old
        until = time.monotonic() + 10
        while sessions.checkpoints.serving != old and time.monotonic() < until:
            time.sleep(0.02)
        assert sessions.checkpoints.serving == old
        assert flow.shown(place)["servers"] == [server.url]
    with served(place) as (again, _):
        assert again.checkpoints.serving == old, "one that was away catches up at its start"
    assert flow.shown(place)["servers"] == []


def test_a_canary_whose_picture_is_200_ms_late_is_rolled_back_with_that_reason(
    place: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployments.first(place, published(place, lively(0)))
    monkeypatch.setattr(flow, "SPEECH_S", 4.0)
    monkeypatch.setattr(flow, "LOOKS", 1)
    monkeypatch.setattr(deploy_gates, "LEAST_FPS", 1.0)
    late, ticked, cut = published(place, lively(1)), live.LiveSession._ticked, live.frames_of
    shown: dict[int, list[np.ndarray]] = {}
    now = threading.local()

    def remembered(session: live.LiveSession, sound: np.ndarray) -> Any:
        now.session = session
        return ticked(session, sound)

    def five_later(*told: Any) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        for number, picture, sound in cut(*told):
            before = shown.setdefault(id(now.session), [picture] * 5)
            before.append(picture)
            yield number, before.pop(0) if now.session.checkpoint == late else picture, sound

    monkeypatch.setattr(live.LiveSession, "_ticked", remembered)
    monkeypatch.setattr(live, "frames_of", five_later)
    with served(place):
        by = Told()
        told = deployed(place, late, by)
        assert told["state"] == "rolled back"
        assert "mouth_lag_ms is 2" in told["reason"]
        assert told["reason"].count("must be") == 1, "nothing else is wrong with it"
        assert deployed(place, published(place, lively(2)))["state"] == "serving"


def test_a_probe_says_what_a_viewer_got(place: Workspace) -> None:
    name = published(place, lively(0))
    with served(place) as (_, server):
        told = probe(server, name, speech(3.5))
        with pytest.raises(ProbeError, match="checkpoint nobody is not held by this server"):
            probe(server, "nobody", speech(SPEECH_S))
    assert told["lost_frames"] == 0
    assert (told["frames"] or 0) >= 25 * 3.5
    assert -80 < (told["mouth_lag_ms"] or -100) < 40, "this mouth is one frame late"
    assert (told["skew_ms"] or 0) < 10
    assert (told["mouth_range"] or 0) > 0.3
    assert (told["mouth_loudness"] or 0) > 0.3
    with pytest.raises(ProbeError, match="the server does not tell its avatars"):
        probe(server, name, speech(SPEECH_S))


def nan_weights(place: Workspace) -> str:
    net = tiny()
    with torch.no_grad():
        net.out.bias[0] = float("nan")
    return published(place, net)


def wrong_shape(place: Workspace) -> str:
    return published(place, tiny(), {"recipe": {**asdict(tiny().recipe), "width": 24, "name": "audio_to_motion"}})


def wrong_sha256(place: Workspace) -> str:
    name = published(place, lively(1))
    (place.objects.local(registry.checkpoint_row(place, name)["uri"]).parent / "weights.safetensors").write_bytes(
        b"other"
    )
    return name


def no_weights(place: Workspace) -> str:
    return published(place, tiny(), weights=b"rubbish")


def never_evaluated(place: Workspace) -> str:
    return published(place, lively(1), {"metrics": {}, "data": {"clips": {}, "people": {}}})


def worse(place: Workspace) -> str:
    return published(place, lively(1), {"metrics": metrics(2.0)})


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (nan_weights, "out.bias holds values that are not finite"),
        (wrong_shape, "its weights don't fit its recipe"),
        (wrong_sha256, "its weights are not what was published"),
        (no_weights, "its weights don't fit its recipe"),
        (never_evaluated, "was never evaluated and can't be now"),
        (worse, "lip_distance is 2, must be at most 1.1"),
    ],
)
def test_a_bad_one_never_becomes_a_canary_and_the_reason_is_told(
    place: Workspace, bad: Callable[[Workspace], str], why: str
) -> None:
    deployments.first(place, published(place, lively(0)))
    before = deployments.serving(place)
    by = Told()
    told = deployed(place, bad(place), by)
    assert told["state"] == "refused"
    assert why in told["reason"]
    assert told["checkpoint"] in told["reason"]
    assert "canary" not in by.names
    assert (deployments.serving(place).stable, deployments.serving(place).canary) == (before.stable, "")
    assert deployments.history(place)[0].reason == told["reason"]


def test_what_serves_is_judged_on_the_snapshot_of_the_other(place: Workspace) -> None:
    stable = published(place, lively(0), {"snapshot": {"id": "s9", "sha256": "9", "tier": "t"}})
    candidate = published(place, lively(1))
    judged = flow.judge(place, candidate, stable)
    assert judged.reason == ""
    assert "can't be judged on snapshot s0" in judged.notes[0]
    place.objects.put_bytes(json.dumps(metrics(0.5)).encode(), f"checkpoints/{stable}/evaluations/s0.json")
    assert "lip_distance is 1, must be at most 0.6" in flow.judge(place, candidate, stable).reason


# Without a server: where it may be killed


class Killed(BaseException):
    """What a kill -9 leaves behind: nothing of the flow goes on."""


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Servers that hold everything and probes with known figures."""
    figures: dict[str, Any] = {}

    @contextmanager
    def servers(place: Workspace, avatar: str | None, kind: str) -> Iterator[tuple[list[Server], dict[str, str]]]:
        yield [Server("s1", "http://one", "key", 1, 0.0)], {"http://away": "does not answer"}

    def followed(servers: list[Server], revision: int, pair: str) -> list[dict[str, Any]]:
        assert pair
        return [{"url": s.url, "holds": True, "why": "", "slowest_switch_ms": 0.1} for s in servers]

    def probed(server: Server, checkpoint: str, sound: np.ndarray, seed: int) -> dict[str, Any]:
        made = figures.get((checkpoint, seed), figures.get(checkpoint, LIVE))
        if isinstance(made, list):
            made = made.pop(0)
        if isinstance(made, Exception):
            raise made
        return dict(made)

    monkeypatch.setattr(flow, "servers_of", servers)
    monkeypatch.setattr(flow, "followed", followed)
    monkeypatch.setattr(flow.deploy_probe, "probe", probed)
    return figures


@pytest.mark.parametrize("good", [True, False])
def test_killed_before_or_after_any_step_and_run_again_it_comes_to_the_same_end(
    tmp_path: Path, stand_in: dict[str, Any], good: bool
) -> None:
    ends = []
    steps = ["gates", "canary", "load", "compare", "promote" if good else "rolled back", "switch"]
    for number, (step, after) in enumerate((s, a) for s in steps for a in (False, True)):
        place = open_workspace(tmp_path / f"ws{number}")
        deployments.first(place, published(place, lively(0)))
        name = published(place, lively(1))
        stand_in[name] = LIVE if good else {**LIVE, "mouth_range": 0.0}

        def kill(at: str, step: str = step) -> None:
            if at == step:
                raise Killed

        by = Told(kill)
        if after:
            run = by.step

            def and_after(name: str, told: str, work: Callable[[], Any], step: str = step, run: Any = run) -> Any:
                made = Told().step(name, told, work)
                if name == step:
                    raise Killed
                return made

            by.step = and_after  # type: ignore[method-assign]
        try:
            deployed(place, name, by)
        except Killed:
            now = deployments.serving(place)
            if deployments.under_way(place) is None:
                assert step in ("promote", "rolled back", "switch")
            elif now.stable != name:
                deployed(place, name)
        now = deployments.serving(place)
        ends.append((now.stable == name, now.canary, now.share, [d.state for d in deployments.history(place)]))
    assert set(map(str, ends)) == {str((good, "", 0.0, ["serving" if good else "rolled back", "serving"]))}


def test_one_that_serves_already_is_told_and_nothing_is_done(place: Workspace) -> None:
    name = published(place, lively(0))
    promoted(place, name, "audio_to_motion")
    before = deployments.serving(place)
    told = flow.run_deploy(place.settings.workspace, name[:8])
    assert (told["did"], told["state"]) == ("nothing", "serving")
    assert deployments.serving(place) == before
    assert len(deployments.history(place)) == 1


@pytest.mark.parametrize("good", [True, False])
def test_one_that_a_server_began_with_is_judged_by_the_baselines_and_alone(
    place: Workspace,
    stand_in: dict[Any, Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    good: bool,
) -> None:
    name = published(place, lively(0))
    deployments.first(place, name)
    deployment.shown(flow.shown(place))
    assert f"serving {name}, ungated: headroom deploy {name[:8]} judges it" in " ".join(capsys.readouterr().out.split())
    stand_in[name] = {**LIVE, "mouth_range": LIVE["mouth_range"] if good else 0.0}
    by = Told()
    monkeypatch.setattr(flow.deploy_soak, "soak", None)  # there is nobody to compare with
    told = flow.deploy(place, flow.begun(place, name), 0.5, None, by, soak_s=1.0)
    now = deployments.serving(place)
    assert (now.stable, now.canary, flow.shown(place)["gated"]) == (name, "", good)
    assert deployments.under_way(place) is None
    assert "nothing serves yet" in by.pages["deploy-gates"]
    if good:
        assert by.names == ["gates", "load", "compare", "promote", "switch"]
        assert (told["state"], deployments.history(place)[0].before) == ("serving", "")
        with pytest.raises(ValueError, match="no checkpoint served before"):
            deployments.go_back(place)
    else:
        assert (told["state"], told["before"]) == ("refused", name)
        assert "mouth_range is 0" in told["reason"]
        assert "it serves on, since nothing else is deployed" in told["reason"]
        stand_in[name] = LIVE
        assert deployed(place, name)["state"] == "serving", "it may be judged again"
        assert flow.shown(place)["gated"] is True


def test_when_nothing_but_times_fails_it_is_looked_at_again(place: Workspace, stand_in: dict[str, Any]) -> None:
    deployments.first(place, published(place, lively(0)))
    name = published(place, lively(1))
    stand_in[name] = [{**LIVE, "fps": 5.0}, LIVE]
    assert deployed(place, name)["state"] == "serving"
    other, stand_in[name] = published(place, lively(2)), LIVE
    stand_in[other] = [{**LIVE, "fps": 5.0, "mouth_range": 0.0}, LIVE]
    assert deployed(place, other)["state"] == "rolled back"


def test_what_is_seen_of_a_mouth_is_the_median_of_the_same_seeds_of_both(
    place: Workspace, stand_in: dict[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    stable, name = published(place, lively(0)), published(place, lively(1))
    deployments.first(place, stable)
    monkeypatch.setattr(flow, "SEEDS", (0, 1, 2))
    for seed, theirs, ours in (
        (0, 5.0, 0.2),
        (1, 0.6, 0.5),
        (2, 0.7, 0.6),
    ):  # the first head sways by chance as the mouth does
        stand_in[stable, seed] = {**LIVE, "mouth_shown": theirs}
        stand_in[name, seed] = {**LIVE, "mouth_shown": ours, "fps": LIVE["fps"] if seed == 0 else 1.0}
    by = Told()
    told = deployed(place, name, by)
    assert told["state"] == "serving", "of other seeds nothing is timed"
    assert "| mouth_shown | 0.5 | 0.7 |" in by.pages["deploy-comparison"]
    other = published(place, lively(2))
    for seed, ours in ((0, 0.5), (1, 0.02), (2, 0.01)):
        stand_in[other, seed] = {**LIVE, "mouth_shown": ours}
    told = deployed(place, other)
    assert (told["state"], "mouth_shown is 0.02, must be" in told["reason"]) == ("rolled back", True)
    stand_in[other, 1] = ProbeError("it went away")
    assert "the canary failed: it went away" in deployed(place, other)["reason"]


def test_a_canary_that_its_server_cannot_say_is_rolled_back(place: Workspace, stand_in: dict[str, Any]) -> None:
    stable = published(place, lively(0))
    deployments.first(place, stable)
    name = published(place, lively(1))
    stand_in[name] = ProbeError("2.0 s of speech were not said after 23 s: it is too slow")
    told = deployed(place, name)
    assert told["reason"].endswith("the canary failed: 2.0 s of speech were not said after 23 s: it is too slow")
    stand_in[name], stand_in[stable] = LIVE, ProbeError("the server opened no session")
    told = deployed(place, name)
    assert (told["state"], deployments.serving(place).canary) == ("rolled back", "")
    assert "it could not be compared: the server opened no session" in told["reason"]


def test_a_deployment_that_somebody_ended_meanwhile_promotes_nothing(
    place: Workspace, stand_in: dict[str, Any]
) -> None:
    stable = published(place, lively(0))
    deployments.first(place, stable)
    by = Told(lambda name: None if name != "promote" else (deployments.go_back(place), None)[1])
    with pytest.raises(OvertakenError, match="is no canary any more"):
        deployed(place, published(place, lively(1)), by)
    assert (deployments.serving(place).stable, deployments.serving(place).canary) == (stable, "")


def test_what_cannot_be_done_says_why(place: Workspace) -> None:
    root = place.settings.workspace
    name = published(place, lively(0))
    with pytest.raises(ValueError, match="canary share 80%: must be above 0 % and at most 50%"):
        flow.run_deploy(root, name, share=0.8)
    with pytest.raises(ValueError, match="'nobody': no checkpoint"):
        flow.run_deploy(root, "nobody")
    with flow._only_one(place), pytest.raises(ValueError, match="another headroom deploy runs"), flow._only_one(place):
        pass
    deployments.first(place, wrong_sha256(place))
    made = deployments.begin(place, name)
    deployments.to_canary(place, made, 0.1)
    deployments.promote(place, made, "")
    with pytest.raises(ValueError, match="its weights are not what was published"):
        flow.run_rollback(root)
    assert deployments.serving(place).stable == name
