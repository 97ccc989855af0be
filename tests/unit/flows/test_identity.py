"""`train identity` on stored timelines, and the portrait that is known by it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flows import identity as training
from flows.deploy import run_deploy, shown
from flows.evaluation import run_evaluate
from flows.identity import evaluate, publish, read_faces, run_identity
from modeling.identity import KIND, OURS, USUAL
from modeling.recipes.identity import identity
from serving.avatar import avatar
from store import deployments, registry
from store.frozen import frozen
from store.workspace import Workspace, open_workspace
from tasks import freeze
from tests.unit.flows.test_pipeline import artifacts
from tests.unit.modeling.spoken_corpus import fill_spoken
from tests.unit.serving.test_render import portrait

FEW = {"least_clips": 3, "least_groups": 3}


@pytest.fixture
def place(tmp_path: Path) -> Workspace:
    made = open_workspace(tmp_path / "ws")
    fill_spoken(made)
    return made


def published(place: Workspace) -> dict[str, Any]:
    """The steps of the flow, without one."""
    held, recipe = frozen(place, str(freeze.build(place, "spoken")["snapshot"])), identity(**FEW)
    faces, rights = read_faces(place, held, recipe)
    return publish(place, recipe, held, faces, rights, *evaluate(recipe, faces))


def test_frames_of_people_are_read_and_nobody_is_split(place: Workspace) -> None:
    held = frozen(place, str(freeze.build(place, "spoken")["snapshot"]))
    faces, rights = read_faces(place, held, identity(**FEW))
    assert set(faces.people) == {"ann", "ben", "cho", "ve"}
    assert faces.left_out == {"cf": "too few frames with a mesh"}
    assert faces.clips == ["ca", "cb", "cc", "cd", "ce"]
    assert rights == {"CC-BY-4.0, consent yes": 5}
    assert faces.inputs.shape[1] == 59
    # Every fifth frame has blendshapes, and only those are of use.
    assert faces.people.count("ann") == 40
    assert faces.people.count("ben") == 20
    with pytest.raises(
        ValueError, match="4 clips of 4 people or videos are shown by a mesh; it takes 12 clips of 12; give a tier"
    ):
        read_faces(place, held, identity())


def test_what_is_not_surely_better_than_usual_is_not_published(
    place: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsure(*given: Any) -> dict[str, Any]:
        told = real(*given)
        for name in told["ahead"][USUAL]:
            told["ahead"][USUAL][name]["low"] = -0.01
        return told

    real = training.judged
    monkeypatch.setattr(training, "judged", unsure)
    root = place.settings.workspace
    with pytest.raises(
        ValueError, match="nothing is surely better, so nothing is published; give a tier with more people"
    ):
        published(place)
    assert not (root / "checkpoints").exists()
    with pytest.raises(ValueError, match="give a tier, which is frozen now, or a snapshot"):
        run_identity(root)


def test_it_is_published_once_deployed_and_known_by_portraits(place: Workspace, tmp_path: Path) -> None:
    root = place.settings.workspace
    told = published(place)
    assert told["kind"] == KIND
    assert told["data"]["people"]["train"] == ["ann", "ben", "cho", "ve"]
    assert told["metrics"]["held_people"]["measures"][OURS]["rest_error"]["value"] >= 0
    assert published(place)["id"] == told["id"]
    with pytest.raises(ValueError, match="is a identity model, judged as it was trained"):
        run_evaluate(root, told["id"])

    file = str(portrait(tmp_path))
    before = avatar(place, file, 96).person
    made = run_deploy(root, told["id"])
    assert (made["state"], made["kind"], made["before"]) == ("serving", KIND, "")
    assert run_deploy(root, told["id"])["did"] == "nothing"
    assert shown(place)["identity"] == told["id"]
    after = avatar(place, file, 96).person
    assert np.abs(after.rest[1:4] - before.rest[1:4]).max() > 0.01
    assert np.array_equal(after.rest[4:], before.rest[4:])


def test_it_runs_as_a_flow_and_the_page_has_its_measures(prefect: str, place: Workspace) -> None:
    told = run_identity(place.settings.workspace, tier="spoken", changed=FEW)
    assert told["id"] == published(place)["id"], "run again, after a kill too, it is the same checkpoint"
    page = artifacts(prefect, "checkpoint")[0]["data"]
    assert f"# identity {told['id']}" in page
    assert "| rest_error |" in page
    assert "- 5 clips: CC-BY-4.0, consent yes" in page


def test_a_damaged_one_is_refused_and_portraits_stay_as_they_were(place: Workspace, tmp_path: Path) -> None:
    root = place.settings.workspace
    told = published(place)
    weights = root / "checkpoints" / told["id"] / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8] + b"damaged!")
    made = run_deploy(root, told["id"])
    assert made["state"] == "refused"
    assert deployments.serving(place, KIND).stable == ""
    with pytest.raises(ValueError, match=told["id"]):
        registry.load(place, told["id"])
    avatar(place, str(portrait(tmp_path)), 96)
