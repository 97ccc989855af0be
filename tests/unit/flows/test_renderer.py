"""From a snapshot to a published renderer, at a size that learns next to nothing; and into service, or not."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
import torch

import headroom
from dashboards import deployment, renderer_trained
from flows import renderer as steps
from flows import renderer_beside
from flows.deploy import judge, run_deploy, run_rollback, shown
from flows.deploy_renderer import beside_gates, renderer_gates
from flows.evaluation import run_evaluate
from flows.export import run_export
from flows.renderer_flow import markdown
from modeling import held_out
from modeling.made_renderer import renderer_of
from modeling.perceptual import frechet, syncnet
from modeling.perceptual.syncnet import SyncNet
from modeling.recipes.renderer import renderer
from modeling.renderer import RendererNet
from store import deployments, registry
from store.workspace import Workspace, open_workspace
from tasks import freeze
from tests.perceptual_weights import lpips_folder, syncnet_file
from tests.unit.flows.test_pipeline import artifacts
from tests.unit.modeling.spoken_corpus import fill_spoken
from tests.unit.serving.talker import promoted

TINY = "renderer_tiny"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    torch.set_num_threads(1)
    made = open_workspace(tmp_path_factory.mktemp("drawn") / "ws")
    fill_spoken(made)
    return made


@pytest.fixture(scope="module")
def snapshot(place: Workspace) -> str:
    return str(freeze.build(place, "spoken")["snapshot"])


def whole_way(place: Workspace, snapshot: str, **changed: object) -> tuple[dict[str, Any], list[int]]:
    trained: list[int] = []
    work = steps.prepare(place, renderer(TINY, **changed), snapshot)
    net = steps.train(work, lambda done: trained.append(done.step))
    return steps.publish(place, work, net, steps.evaluate(work, net)), trained


@pytest.fixture(scope="module")
def told(place: Workspace, snapshot: str) -> dict[str, Any]:
    made, trained = whole_way(place, snapshot)
    assert trained == list(range(1, 13))
    return made


def test_a_checkpoint_says_what_it_learnt_from_and_how_it_does(told: dict[str, Any]) -> None:
    card, judged = told["data"], told["metrics"]["held_people"]
    assert card["licences"] == {"CC-BY-4.0, consent yes": len(card["clips"]["train"])}
    assert not set(card["people"]["train"]) & set(card["people"]["held_people"])
    assert set(card["left_out"]) == {"ce", "cf"}
    assert card["frames"]["train"] == 50 * len(card["clips"]["train"])
    assert card["frames"]["held_people"] == 50, "of the last seventy of a hundred, in two stretches"
    assert "landmarks@f-landmarks" in card["timelines"]
    assert set(judged["plates"]) == {"avatar", "portrait"}
    assert set(judged["plates"]["avatar"]["ahead"]) == {"warp", "copy"}
    assert 0.5 < judged["plates"]["avatar"]["measures"]["ours"]["identity"]["value"] <= 1
    assert "| mouth_psnr |" in markdown(told)


def test_the_same_again_trains_nothing_and_is_the_same_checkpoint(
    place: Workspace, snapshot: str, told: dict[str, Any]
) -> None:
    made, trained = whole_way(place, snapshot)
    assert (made["id"], trained) == (told["id"], [])


def test_it_is_judged_anew_with_the_same_figures(
    place: Workspace, snapshot: str, told: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    anew = run_evaluate(place.settings.workspace, told["id"])
    assert anew["held_people"] == told["metrics"]["held_people"]
    kept = place.objects.local(place.objects.uri(f"checkpoints/{told['id']}/evaluations/{snapshot}.json"))
    assert json.loads(kept.read_text()) == anew
    renderer_trained.evaluated(anew)
    renderer_trained.trained(told)
    assert "mouth_psnr" in capsys.readouterr().out


def test_measures_whose_weights_are_given_stand_beside_the_others(
    place: Workspace, snapshot: str, told: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = lpips_folder(tmp_path)
    root = str(place.settings.workspace)
    plain = run_evaluate(root, told["id"])
    made = []
    for seed in (0, 1):
        lpips_folder(tmp_path, seed)
        with pytest.raises(SystemExit) as end:
            headroom.main(["evaluate", told["id"], "--with", f"lpips={folder}?device=cpu", "-w", root, "--json"])
        assert end.value.code == 0
        made.append(json.loads(capsys.readouterr().out.splitlines()[-1]))
    for one in made:
        of = one["held_people"]["plates"]["portrait"]
        assert of["measures"]["ours"]["lpips"]["value"] > 0
        assert {"lpips", "temporal_lpips"} <= set(of["ahead"]["warp"]) & set(of["measures"]["copy"])
        rest = {m: v for m, v in of["measures"]["ours"].items() if "lpips" not in m}
        assert rest == plain["held_people"]["plates"]["portrait"]["measures"]["ours"]
    about = [one["perceptual"]["lpips"] for one in made]
    assert about[0]["model"] == "alexnet-owt-00000000.pth, alex.pth"
    assert about[0]["revision"] != about[1]["revision"], "other weights have other names"
    assert made[0]["held_people"] != made[1]["held_people"]
    keys = [key for key, _ in place.objects.under(f"checkpoints/{told['id']}/evaluations")]
    kept = [json.loads(place.objects.local(key, fresh=True).read_bytes()) for key in keys]
    assert all(one in kept for one in (plain, *made)), "each has a file of its own"
    assert registry.evaluation(place, told["id"], snapshot) == plain, "the one without is what others read"
    renderer_trained.evaluated(made[0])
    out = capsys.readouterr().out
    assert "lpips by alexnet-owt-00000000.pth, alex.pth, sha256-" in out
    assert "temporal_lpips" in out


def test_lip_sync_hears_the_clips_own_sound_and_fvd_wants_more_people(
    place: Workspace, told: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("transformers", reason="needs the extra: pip install -e '.[hub]'")
    from tests.tiny_checkpoints import videomae

    root, seen = place.settings.workspace, f"fvd={videomae(tmp_path)}?dtype=bfloat16&device=cpu&batch_size=2"
    with pytest.raises(
        ValueError, match=r"--with fvd: held_people: FVD needs 16 videos of 16 frames of 2 people, here are \d"
    ):
        run_evaluate(root, told["id"], measures=[seen])
    monkeypatch.setattr(frechet, "LEAST_VIDEOS", 2)
    monkeypatch.setattr(frechet, "LEAST_PEOPLE", 1)
    monkeypatch.setattr(frechet, "NUM_RESAMPLES", 20)
    monkeypatch.setattr(syncnet, "MAX_OFFSET", 5)  # a clip of four seconds is judged on two stretches of one
    monkeypatch.setattr(
        SyncNet, "lips", lambda net, faces: faces.mean(dim=(2, 3, 4))
    )  # the whole one takes minutes here
    monkeypatch.setattr(SyncNet, "sounds", lambda net, rows: rows.mean(dim=(1, 2))[:, :3])
    made = run_evaluate(root, told["id"], measures=[seen, f"lse={syncnet_file(tmp_path)}"])
    assert set(made["perceptual"]) == {"fvd", "lse"}
    assert made["perceptual"]["fvd"]["revision"].startswith("folder-")
    assert made["perceptual"]["fvd"]["dtype"] == "bfloat16"
    of = made["held_people"]["plates"]["avatar"]
    assert of["measures"]["ours"]["fvd"]["n"] >= 2
    assert "FVD of" in made["held_people"]["notes"][0]
    for who in ("ours", "warp", "copy", "true"):
        assert of["measures"][who]["lse_d"]["value"] > 0
        assert of["measures"][who]["lse_c"]["value"] >= 0
    renderer_trained.evaluated(made)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (["vmaf=x"], r"--with 'vmaf=x' is none of lpips, fvd, lse \(lpips=FOLDER: torchvision's alexnet"),
        (["lpips"], "lpips: needs its weights. Say --with lpips=FOLDER"),
        (
            ["lse=nowhere.model"],
            "there is no file nowhere.model.*syncnet_v2.model, which download_model.sh.*licence: MIT",
        ),
        (["lpips=nowhere"], r"nowhere: needs one file alexnet\*.pth and alex.pth; it has no such folder.*BSD-2-Clause"),
        (["lse=a", "lse=b"], "--with lse is given twice"),
        (["lse=a?dtype=float16"], "setting 'dtype' is not device"),
        (["fvd=some/model"], "some/model is not in .*hf download some/model.*CC-BY-NC-4.0"),
        (["fvd=some/model?sise=3"], "setting 'sise' is none of model, revision"),
    ],
)
def test_what_measures_nothing_is_told_with_what_would(
    place: Workspace, told: dict[str, Any], given: list[str], why: str
) -> None:
    with pytest.raises(ValueError, match=why):
        run_evaluate(place.settings.workspace, told["id"], measures=given)


def test_a_device_that_is_not_there_is_told(place: Workspace, told: dict[str, Any], tmp_path: Path) -> None:
    given = [f"lpips={lpips_folder(tmp_path)}?device=abacus"]
    with pytest.raises(ValueError, match="device 'abacus'"):
        run_evaluate(place.settings.workspace, told["id"], measures=given)


def test_its_graph_lies_beside_it_and_says_what_it_is_of(
    place: Workspace, told: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert registry.exported(place, told["id"]) is not None
    made = run_export(place.settings.workspace, told["id"], tmp_path / "r.onnx")
    assert made["most_apart"] < 0.1
    assert Path(made["path"]).stat().st_size == made["num_bytes"]
    renderer_trained.exported(made)
    assert "gray levels away from torch" in capsys.readouterr().out


def test_one_persons_own_is_judged_beside_the_one_it_began_as(
    place: Workspace, snapshot: str, told: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(held_out, "SAME_SOUND", 2.0)  # drawn heads all speak in one rhythm
    start = registry.load(place, told["id"])
    own = {"held_people_least": 9, "held_time_least_s": 3.0, "held_time_share": 0.4, "num_steps": 2}
    work = steps.prepare(place, renderer(TINY, **own), snapshot, start)
    net = steps.train(work, lambda done: None)
    made = steps.publish(place, work, net, steps.evaluate(work, net))
    judged = made["metrics"]["held_time"]["plates"]["avatar"]
    assert made["metrics"]["held_out"] == "time"
    assert {"ours", "general", "warp", "copy", "true"} == set(judged["measures"])
    assert "mouth_psnr" in judged["ahead"]["general"]
    assert (made["start"], made["data"]["before"]["people"]) == (told["id"], told["data"]["people"])
    assert "**held_out: time.**" in markdown(made)
    with pytest.raises(ValueError, match=f"width is 12, that of checkpoint {told['id']} 8; --set width=8"):
        steps.run_renderer(place.settings.workspace, TINY, snapshot=snapshot, start=told["id"], changed={"width": 12})


def test_what_cannot_be_done_says_why(
    place: Workspace, told: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    root = place.settings.workspace
    with pytest.raises(ValueError, match="give a tier, which is frozen now, or a snapshot"):
        steps.run_renderer(root, TINY)
    found = registry.load(place, told["id"])
    with pytest.raises(ValueError, match="is of kind 'audio_to_motion', not renderer"):
        renderer_of(registry.publish(place, found.weights, {**found.told, "kind": "audio_to_motion"}))
    bad = RendererNet(renderer(TINY, width=12)).state_dict()
    from safetensors.torch import save

    with pytest.raises(ValueError, match="its weights don't fit its recipe"):
        renderer_of(registry.publish(place, save(bad), found.told))
    spoilt = RendererNet(renderer(TINY)).state_dict()
    spoilt["leave.bias"][0] = float("nan")
    with pytest.raises(ValueError, match=r"leave.bias holds values that are not finite"):
        renderer_of(registry.publish(place, save(spoilt), found.told))
    for more, why in (
        (["audio_to_motion", "--tier", "spoken", "--start", "abc"], "--start is of a renderer"),
        (["renderer", "--tier", "spoken", "--device", "tpu"], "device 'tpu' is none of auto, cpu, cuda"),
    ):
        with pytest.raises(SystemExit):
            headroom.main(["train", *more, "--workspace", str(root)])
        assert why in " ".join(capsys.readouterr().err.split())


def test_it_runs_as_a_flow_that_shows_its_progress_and_pictures(
    prefect: str, place: Workspace, snapshot: str, told: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from tensorboardX import SummaryWriter

    from flows import renderer_flow, training_progress

    drawn: list[tuple[str, int]] = []
    monkeypatch.setattr(
        SummaryWriter, "add_image", lambda board, tag, picture, step, dataformats: drawn.append((tag, step))
    )
    monkeypatch.setattr(training_progress, "PICTURE_INTERVAL_S", -1.0)
    seen: list[int] = []
    with training_progress.watched(lambda done: seen.append(done.step)):
        made = renderer_flow.train_renderer(
            str(place.settings.workspace), TINY, snapshot, {"num_steps": 5, "save_every": 2}
        )
    assert seen == [1, 2, 3, 4, 5]
    assert made["recipe"]["num_steps"] == 5
    assert "| mouth_psnr |" in artifacts(prefect, "checkpoint")[0]["data"]
    assert artifacts(prefect, "progress-train")[0]["data"] == 100
    saved = [("held_out/frames", step) for step in (2, 4, 5)]
    assert drawn == [*saved, ("held_out/side_by_side", 5)], "of each save, and of the whole training"
    (samples,) = place.settings.workspace.glob(f"runs/{TINY}-*/samples.png")
    picture = artifacts(prefect, "renderer-samples")[0]
    assert base64.b64decode(picture["data"].removeprefix("data:image/png;base64,")) == samples.read_bytes()
    assert all(clip in picture["description"] for clip in made["data"]["clips"]["held_people"])
    logged = b"".join(f.read_bytes() for f in samples.parent.glob("events/*tfevents*"))
    assert b"loss/sharpness" in logged
    assert b"held_people_avatar/mouth_psnr" in logged

    assert list(place.settings.workspace.glob(f"runs/{TINY}-*/events"))
    judged = registry.evaluation(place, made["id"], snapshot)
    assert judged is not None
    sheet = artifacts(prefect, "side-by-side")[0]
    shown = base64.b64decode(sheet["data"].removeprefix("data:image/jpeg;base64,"))
    assert place.objects.local(judged["drawn"]["sheet"]).read_bytes() == shown
    assert all(video in sheet["description"] for video in judged["drawn"]["videos"])
    assert judged["signal"] == f"eval_{TINY}", "clips were told how they did"


@pytest.mark.slow
def test_the_flow_trains_by_two_processes(prefect: str, place: Workspace, snapshot: str) -> None:
    changed = {"num_steps": 3, "seed": 7}
    made = steps.run_renderer(
        place.settings.workspace, TINY, snapshot=snapshot, changed=changed, device="cpu", processes=2
    )
    assert made["did"] == "trained"
    assert made["recipe"]["num_steps"] == 3


def good(**changed: float) -> dict[str, Any]:
    """Metrics that pass, with values of ours changed."""
    ours = {
        "identity": 0.9,
        "open_contrast": 0.9,
        "sharpness": 0.9,
        "still_quiver": 0.0,
        "border_step": 0.0,
        "pause_quiver": 0.1,
        **changed,
    }
    ahead = {m: {"value": 1.0, "low": 0.5, "high": 1.5} for m in ("mouth_psnr", "mouth_ssim", "closed_error")}
    if "mouth_psnr_low" in changed:
        ahead["mouth_psnr"]["low"] = changed["mouth_psnr_low"]
    if "closed_high" in changed:
        ahead["closed_error"]["high"] = changed["closed_high"]
    told = {"ours": {m: {"value": v} for m, v in ours.items()}, "warp": {"identity": {"value": 0.95}}}
    of = {"measures": told, "ahead": {"warp": ahead}}
    return {"held_out": "people", "held_people": {"num_people": 3, "seconds": 9.0, "plates": {"avatar": of}}}


@pytest.mark.parametrize(
    ("changed", "fails"),
    [
        ({}, ""),
        ({"mouth_psnr_low": -0.1}, "mouth_psnr ahead of the warp, lower end"),
        ({"closed_high": -0.1}, "closed_error ahead of the warp, upper end"),
        ({"sharpness": 0.5}, "sharpness"),
        ({"identity": 0.8}, "identity"),
        ({"open_contrast": 0.4}, "open_contrast"),
        ({"still_quiver": 0.9}, "still_quiver"),
        ({"border_step": 3.0}, "border_step"),
        ({"pause_quiver": 2.0}, "pause_quiver"),
    ],
)
def test_each_defect_fails_a_gate(changed: dict[str, float], fails: str) -> None:
    failed = [g.name for g in renderer_gates(good(**changed), 3.0) if not g.passed]
    assert failed == ([f"avatar: {fails}"] if fails else [])
    assert [g.name for g in renderer_gates(good(), 50.0) if not g.passed] == ["frame_ms"]


def test_one_that_is_worse_than_what_serves_is_refused_though_it_passes_every_floor(
    place: Workspace, told: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from safetensors.torch import save

    stable, found = told["id"], registry.load(place, told["id"])
    spoilt = renderer_of(found).state_dict()
    spoilt["leave.bias"] += 1.5  # a mouth that is far too bright
    worse = registry.publish(place, save(spoilt), {**found.told, "metrics": good()}).id
    same = registry.publish(place, found.weights, {**found.told, "metrics": good()}).id
    assert judge(place, worse, "", "renderer").reason == "", "beside the warp alone it passes"
    judged = judge(place, worse, stable, "renderer")
    assert "avatar: mouth_psnr ahead of the renderer that serves is -" in judged.reason
    assert f"{stable}, which serves, drew the same: 1 people it never saw" in judged.notes[0]

    monkeypatch.setattr(renderer_beside, "code_version", lambda: {"package": "0", "commit": "c"})
    judged = judge(place, same, stable, "renderer")
    assert judged.reason == ""
    ahead = [g for g in judged.gates if "renderer that serves" in g.name]
    assert {g.name.split(": ")[1].split(" ")[0] for g in ahead} >= {"mouth_psnr", "mouth_ssim", "sharpness", "identity"}
    assert all(g.value == 0 for g in ahead)
    with monkeypatch.context() as drawing_nothing:
        drawing_nothing.delattr(renderer_beside, "renderer_of")
        again = judge(place, same, stable, "renderer")
    assert again.gates[1:] == judged.gates[1:], "the same code draws nothing again; frame_ms alone is timed anew"

    learnt = {**found.told["data"], "people": {"train": ["ann", "ben", "cho"]}}
    knows = registry.publish(
        place, found.weights, {**found.told, "data": learnt, "snapshot": {"id": "o", "sha256": "o"}}
    )
    judged = judge(place, same, knows.id, "renderer")
    assert judged.reason == ""
    assert (
        "can't draw the same (it learnt from all that is held out of that): the warp alone decides" in judged.notes[0]
    )


@pytest.mark.parametrize(
    ("measure", "theirs", "ahead", "width", "passes"),
    [
        ("mouth_psnr", 25.0, -0.4, 0.0, True),
        ("mouth_psnr", 25.0, -0.5, 0.1, False),
        ("mouth_psnr", 25.0, -0.5, 0.6, True),
        ("mouth_ssim", 0.8, -0.02, 0.0, False),
        ("mouth_flicker", 6.0, -0.2, 0.1, True),
        ("mouth_flicker", 6.0, -0.4, 0.1, False),
        ("closed_error", 10.0, -0.6, 0.1, False),
        ("sharpness", 0.9, -0.1, 0.0, False),
        ("identity", 0.9, -0.1, 0.0, False),
    ],
)
def test_behind_what_serves_by_the_interval_and_by_5_percent_fails(
    measure: str, theirs: float, ahead: float, width: float, passes: bool
) -> None:
    figures = {"value": ahead, "low": ahead - width, "high": ahead + width}
    of = {"measures": {"serving": {measure: {"value": theirs}}}, "ahead": {"serving": {measure: figures}}}
    (gate,) = beside_gates({"held_people": {"plates": {"avatar": of}}})
    assert (gate.passed, gate.name) == (passes, f"avatar: {measure} ahead of the renderer that serves")


def test_it_comes_into_service_by_its_gates_or_not_at_all(
    place: Workspace, told: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    root, found = place.settings.workspace, registry.load(place, told["id"])
    poor = registry.publish(place, found.weights, {**found.told, "metrics": good(sharpness=0.2)}).id
    fine = registry.publish(place, found.weights, {**found.told, "metrics": good()}).id
    assert "sharpness is 0.2" in judge(place, poor, "", "renderer").reason
    judged = judge(place, fine, "", "renderer")
    assert (judged.reason, judged.gates[0].name, judged.on) == ("", "frame_ms", "3 people it never saw, 9 s")
    with pytest.raises(ValueError, match=f"renderer {fine} draws motion, and no checkpoint makes any"):
        run_deploy(root, fine)
    promoted(place, fine, "renderer")
    made = run_deploy(root, fine)
    assert made["did"] == "nothing"
    assert deployments.serving(place).stable == "", "what makes motion is another matter"
    deployment.shown(shown(place))
    deployment.deployed(made)
    deployment.deployed({**run_rollback(root, "renderer")})
    out = " ".join(capsys.readouterr().out.split())
    assert f"renderer {fine} serves already" in out
    assert "the plain warp is serving: headroom deploy --rollback: back from" in out
    assert "what draws now: the plain warp" in out
