"""From a snapshot to a published checkpoint and back: the whole way, at a size that learns next to nothing."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dashboards import motion_trained
from flows import deploy
from flows import train as steps
from flows.evaluation import run_evaluate
from modeling import held_out
from modeling.made_motion import made_motion, network
from modeling.recipes.audio_to_motion import recipe
from store import registry
from store.workspace import Workspace, open_workspace
from tasks import freeze
from tasks.trace import trace
from tests.unit.flows.test_pipeline import artifacts
from tests.unit.modeling.spoken_corpus import fill_spoken

TINY = "audio_to_motion_tiny"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    made = open_workspace(tmp_path_factory.mktemp("trained") / "ws")
    fill_spoken(made)
    return made


@pytest.fixture(scope="module")
def snapshot(place: Workspace) -> str:
    return str(freeze.build(place, "spoken")["snapshot"])


def whole_way(place: Workspace, snapshot: str) -> tuple[dict[str, Any], list[int]]:
    """The published checkpoint, and the steps that were trained for it."""
    trained: list[int] = []
    work = steps.prepare(place, recipe(TINY), snapshot)
    net = steps.train(work, lambda done: trained.append(done.step))
    return steps.publish(place, work, net, *steps.evaluate(work, net)), trained


@pytest.fixture(scope="module")
def told(place: Workspace, snapshot: str) -> dict[str, Any]:
    made, trained = whole_way(place, snapshot)
    assert trained == list(range(1, 41))
    return made


def test_a_checkpoint_says_what_it_learnt_from(told: dict[str, Any]) -> None:
    card, judged = told["data"], told["metrics"]["held_people"]
    assert card["licences"] == {"CC-BY-4.0, consent yes": len(card["clips"]["train"])}
    assert not set(card["people"]["train"]) & set(card["people"]["held_people"])
    assert set(card["left_out"]) == {"ce", "cf"}
    assert "landmarks@f-landmarks" in card["timelines"]
    assert judged["num_people"] == 1
    assert set(judged["ahead"]) == {"mean_motion", "rms_to_mouth"}


def test_the_same_again_trains_nothing_and_is_the_same_checkpoint(
    place: Workspace, snapshot: str, told: dict[str, Any]
) -> None:
    made, trained = whole_way(place, snapshot)
    assert (made["id"], trained) == (told["id"], [])


def test_it_is_judged_anew_with_the_same_figures(place: Workspace, snapshot: str, told: dict[str, Any]) -> None:
    anew = run_evaluate(place.settings.workspace, told["id"])
    assert anew["held_people"] == told["metrics"]["held_people"]
    kept = place.objects.local(place.objects.uri(f"checkpoints/{told['id']}/evaluations/{snapshot}.json"))
    assert json.loads(kept.read_text()) == anew


def test_it_is_traced_to_its_clips_and_back(place: Workspace, snapshot: str, told: dict[str, Any]) -> None:
    tree = trace(place, told["id"]).to_dict()
    parts = {clip["id"]: clip["part"] for video in tree["children"][0]["children"] for clip in video["children"]}
    learnt = {c: part for part, clips in told["data"]["clips"].items() for c in clips}
    assert parts == learnt | {"ce": "left out", "cf": "left out"}
    assert trace(place, snapshot).to_dict()["children"][-1]["id"] == told["id"]
    clip = next(c for c in trace(place, "va.mp4").to_dict()["children"] if c["kind"] == "clip")
    assert clip["children"][-1]["children"][0]["id"] == told["id"]


def test_what_it_makes_of_a_sound_follows_from_the_seed(place: Workspace, told: dict[str, Any]) -> None:
    found = registry.load(place, told["id"])
    sound = np.random.default_rng(0).normal(0, 0.1, 640 * 50).astype(np.float32)
    made = made_motion(found, sound, seed=1)
    assert made.shape == (50, 9)
    assert np.array_equal(made, made_motion(found, sound, seed=1))
    assert not np.array_equal(made, made_motion(found, sound, seed=2))
    shown = steps.motion_of_clip(place, "ca", told["id"])
    assert [v.shape for v in shown.curves.values()] == [(100, 9)] * 3
    assert shown.clip["face"][0] < shown.clip["face"][2]


def test_what_cannot_be_done_says_why(place: Workspace, snapshot: str, told: dict[str, Any]) -> None:
    root = place.settings.workspace
    with pytest.raises(ValueError, match="recipe 'x' is none of"):
        steps.run_train(root, "x", tier="spoken")
    with pytest.raises(ValueError, match="give a tier, which is frozen now, a snapshot, or a curriculum"):
        steps.run_train(root, TINY)
    with pytest.raises(ValueError, match="clip ce: has no motion"):
        steps.motion_of_clip(place, "ce")
    other = registry.publish(place, b"", {**told, "kind": "renderer"})
    with pytest.raises(ValueError, match="is of kind 'renderer', not audio_to_motion"):
        network(other)


def test_one_that_was_never_evaluated_is_before_it_is_deployed(
    place: Workspace, snapshot: str, told: dict[str, Any]
) -> None:
    weights = registry.load(place, told["id"]).weights
    anew = registry.publish(place, weights, {**told, "metrics": {}, "note": "not evaluated"}).id
    assert registry.evaluation(place, anew, snapshot) is None
    judged = deploy.judge(place, anew, told["id"])
    kept = registry.evaluation(place, anew, snapshot)
    assert kept is not None
    assert kept["held_people"] == told["metrics"]["held_people"]
    beside = [g for g in judged.gates if g.why.startswith("the checkpoint that serves")]
    assert [g.name for g in beside] == ["lip_distance", "lip_velocity_distance", "correlation"]
    assert all(g.passed for g in beside), "it is the same network"


def test_with_too_few_people_time_is_held_out_and_never_called_people(
    place: Workspace, snapshot: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(held_out, "SAME_SOUND", 2.0)  # drawn heads all speak in one rhythm
    few = {"held_people_least": 9, "held_time_least_s": 3.0, "held_time_share": 0.4, "num_steps": 3}
    made = recipe(TINY, **few)
    work = steps.prepare(place, made, snapshot)
    net = steps.train(work, lambda done: None)
    told = steps.publish(place, work, net, *steps.evaluate(work, net))
    card, judged = told["data"], told["metrics"]
    assert (card["held_out"], judged["held_out"]) == ("time", "time")
    assert set(judged) == {"held_out", "held_time"}
    assert set(card["clips"]) == set(card["people"]) == {"train"}
    assert card["seconds"] == {"train": 9.6, "held_time": 6.4}
    interval = judged["held_time"]["measures"]["ours"]["lip_distance"]
    assert interval["low"] < interval["high"], "over clips, since nobody is held out"
    anew = run_evaluate(place.settings.workspace, told["id"])
    assert {k: anew[k] for k in judged} == judged
    motion_trained.trained(told)
    printed = capsys.readouterr().out
    assert "says nothing of people it never saw" in printed.replace("\n", " ")
    assert all(measure in printed for measure in judged["held_time"]["measures"]["ours"]), "whole, at 80 columns"
    from flows import train_flow

    assert "**held_out: time.**" in train_flow.markdown(told)

    monkeypatch.setattr(steps, "code_version", lambda: {**told["code"], "commit": "c0"})
    assert steps.trained_before(place, made, snapshot) is None, "other code made it"
    found = registry.load(place, told["id"])
    clean = registry.publish(place, found.weights, {**found.told, "code": steps.code_version()})
    again = steps.run_train(place.settings.workspace, TINY, snapshot=snapshot, changed=few)
    assert (again["id"], again["did"]) == (clean.id, "nothing")
    assert steps.trained_before(place, recipe(TINY), snapshot) is None, "another recipe"
    monkeypatch.setattr(steps, "code_version", lambda: {**told["code"], "commit": "c0+"})
    assert steps.trained_before(place, made, snapshot) is None, "nobody knows what changed code is"


COURSE = """
[[stage]]
tier = "spoken"
steps = 12
max_length_s = 60

[[stage]]
tier = "ann"
epochs = 2
set = { learning_rate = 5e-4 }
"""


@pytest.fixture(scope="module")
def course(place: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    ann = "SELECT clip_id FROM clips WHERE clip_id IN ('ca', 'cb', 'cc', 'cd')"
    (place.settings.workspace / "tiers" / "ann.sql").write_text(ann)
    file = tmp_path_factory.mktemp("course") / "course.toml"
    file.write_text(COURSE)
    return file


def test_a_checkpoint_knows_all_stages_and_is_known_of_each(place: Workspace, course: Path) -> None:
    frozen_course = steps.course_of(place, TINY, course, {})
    work = steps.prepare_curriculum(place, recipe(TINY), frozen_course, {})
    assert [len(s.clips) for s in work.stages] == [len(work.parts.train)] * 2
    frames = sum(len(c) for c in work.stages[1].clips)
    num_steps = -(-2 * frames // (4 * 25))
    assert [s.recipe.num_steps for s in work.stages] == [12, num_steps]
    assert [s.recipe.learning_rate for s in work.stages] == [2e-3, 5e-4]
    seen: list[int] = []
    net = steps.train(work, lambda done: seen.append(done.stage))
    assert seen == [1] * 12 + [2] * num_steps
    told = steps.publish(place, work, net, *steps.evaluate(work, net))
    stages = told["curriculum"]["stages"]
    assert told["curriculum"]["sha256"] == frozen_course["sha256"]
    assert [(s["snapshot"]["tier"], s["num_steps"]) for s in stages] == [("spoken", 12), ("ann", num_steps)]
    assert told["snapshot"]["id"] == stages[1]["snapshot"]["id"]
    tree = trace(place, told["id"]).to_dict()
    assert [(n["id"], n["stage"]) for n in tree["children"]] == [
        (stages[0]["snapshot"]["id"], "1 (12 steps)"),
        (stages[1]["snapshot"]["id"], f"2 ({num_steps} steps)"),
    ]
    for stage in stages:
        below = trace(place, stage["snapshot"]["id"]).to_dict()["children"]
        assert told["id"] in [n["id"] for n in below if n["kind"] == "checkpoint"]
        assert told["id"] in [r["id"] for r in registry.learnt_from(place, [stage["snapshot"]["id"]])]
    anew = run_evaluate(place.settings.workspace, told["id"])
    assert anew["held_people"] == told["metrics"]["held_people"]


def test_a_curriculum_trained_before_is_not_trained_again(
    place: Workspace, course: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frozen_course = steps.course_of(place, TINY, course, {})
    last = frozen_course["stages"][-1]["snapshot"]["id"]
    found = registry.load(place, registry.of_snapshot(place, TINY, last)[0])
    monkeypatch.setattr(steps, "code_version", lambda: {**found.told["code"], "commit": "c0"})
    clean = registry.publish(place, found.weights, {**found.told, "code": steps.code_version()})
    again = steps.run_train(place.settings.workspace, TINY, curriculum=course)
    assert (again["id"], again["did"]) == (clean.id, "nothing")
    assert steps.trained_before(place, recipe(TINY), last) is None, "a plain training of the last stage is another"


def test_a_stage_that_can_not_be_trained_says_why(place: Workspace, course: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.toml"
    wrong.write_text(COURSE.replace("learning_rate", "width"))
    with pytest.raises(ValueError, match=r"stage 2: set has width; a stage may set batch_size, .* for all stages"):
        steps.run_train(place.settings.workspace, TINY, curriculum=wrong)
    wrong.write_text(COURSE.replace("5e-4", "'fast'"))
    with pytest.raises(ValueError, match="learning_rate='fast' is no float"):
        steps.run_train(place.settings.workspace, TINY, curriculum=wrong)
    wrong.write_text(COURSE.replace("epochs = 2", "epochs = 2\nmin_short_side_px = 4000"))
    frozen_course = steps.course_of(place, TINY, wrong, {})
    with pytest.raises(ValueError, match="stage 2: of the 0 clips of ann that it asks for none can be learnt from"):
        steps.prepare_curriculum(place, recipe(TINY), frozen_course, {})
    with pytest.raises(ValueError, match="or a curriculum; one of them"):
        steps.run_train(place.settings.workspace, TINY, tier="spoken", curriculum=course)


@pytest.mark.slow
def test_the_flow_walks_through_a_curriculum(prefect: str, place: Workspace, course: Path) -> None:
    changed = {"seed": 5}  # else a clean checkout knows that it was trained before
    told = steps.run_train(place.settings.workspace, TINY, curriculum=course, changed=changed, processes=2)
    assert [s["snapshot"]["tier"] for s in told["curriculum"]["stages"]] == ["spoken", "ann"]
    page = next(a["data"] for a in artifacts(prefect, "checkpoint") if "1. snapshot" in a["data"])
    assert "12 steps" in page


@pytest.mark.slow
def test_the_flow_shows_its_progress_and_what_came_of_it(
    prefect: str, place: Workspace, snapshot: str, told: dict[str, Any], tmp_path: Path
) -> None:
    from flows import train_flow, training_progress

    root = place.settings.workspace
    seen: list[int] = []
    with training_progress.watched(lambda done: seen.append(done.step)):
        made = train_flow.train(str(root), TINY, snapshot, {"num_steps": 5})
    assert seen == [1, 2, 3, 4, 5]
    assert made["id"] != told["id"]
    assert f"Snapshot {snapshot}" in artifacts(prefect, "checkpoint")[0]["data"]
    assert artifacts(prefect, "progress-train")[0]["data"] == 100
    samples = max(root.glob(f"runs/{TINY}-*/samples.png"), key=lambda file: file.stat().st_mtime)
    drawn = artifacts(prefect, "motion-samples")[0]
    assert base64.b64decode(drawn["data"].removeprefix("data:image/png;base64,")) == samples.read_bytes()
    assert "clips c" in drawn["description"]
    logged = b"".join(f.read_bytes() for f in samples.parent.glob("events/*tfevents*"))
    assert b"held_out/motion" in logged
    assert b"loss/position" in logged
    judged = registry.evaluation(place, made["id"], snapshot)
    assert judged is not None
    sheet = artifacts(prefect, "side-by-side")[0]
    shown = base64.b64decode(sheet["data"].removeprefix("data:image/jpeg;base64,"))
    assert place.objects.local(judged["drawn"]["sheet"]).read_bytes() == shown
    assert all(video in sheet["description"] for video in judged["drawn"]["videos"])
    assert b"held_out/side_by_side" in logged
    assert made["drawn"]["sheet"] == judged["drawn"]["sheet"]
