"""The report's page of models: measures beside the baselines' with intervals, what was drawn, and nothing that is gone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dashboards.report import write_report
from modeling.side_by_side import jpeg
from store import drawn, registry
from store.workspace import Workspace, open_workspace
from tasks.media.film import write_film
from tests.unit.dashboards.conftest import fill


def figures(value: float) -> dict[str, Any]:
    told = {"value": value, "low": value - 0.125, "high": value + 0.125, "n": 3}
    part = {"num_clips": 3, "num_people": 2, "seconds": 9.5}
    return {**part, "measures": {"ours": {"lip_distance": told}, "mean_motion": {"lip_distance": told}}, "ahead": {"mean_motion": {"lip_distance": told}}}  # fmt: skip


@pytest.fixture
def place(tmp_path: Path) -> Workspace:
    made = open_workspace(tmp_path / "ws")
    fill(made)
    return made


def published(place: Workspace, kind: str) -> str:
    told = {"kind": kind, "recipe": {"name": kind}, "snapshot": {"id": "s1", "sha256": "0", "tier": "t_wide"}}
    metrics = {"held_out": "people", "held_people": figures(1.5)}
    return registry.publish(place, b"weights", {**told, "metrics": metrics}).id


def put_drawn(place: Workspace, checkpoint: str) -> str:
    film = place.settings.workspace / "film.mp4"
    write_film(np.zeros((3, 64, 64, 3), np.uint8), (64, 64), np.zeros(3 * 640, np.float32), film)
    about = {"motion": checkpoint, "renderer": "", "snapshot": "s1", "held_people": figures(0.25)}
    clips = [{"clip_id": "c1", "held_out": "people"}]
    folder = drawn.folder_of(checkpoint, "s1")
    drawn.put(place, folder, {**about, "clips": clips}, {"c1": film}, jpeg(np.zeros((16, 16, 3), np.uint8)))
    return folder


def test_a_workspace_without_models_has_no_such_page(place: Workspace) -> None:
    published(place, "detector")
    page = write_report(place)
    assert not (page.parent / "models.html").exists()
    assert "models.html" not in page.read_text()


def test_a_model_is_shown_with_its_measures_and_what_it_drew(place: Workspace) -> None:
    checkpoint = published(place, "audio_to_motion")
    page = write_report(place)
    models = page.parent / "models.html"
    assert 'href="models.html"' in page.read_text()
    assert "Nothing was drawn with it yet" in models.read_text()
    assert "1.5 [1.38, 1.62]" in models.read_text()

    folder = put_drawn(place, checkpoint)
    told = {"checkpoint": checkpoint, "snapshot": "s1", "held_out": "people", "held_people": figures(2.5)}
    place.objects.put_bytes(json.dumps(told).encode(), f"checkpoints/{checkpoint}/evaluations/s1.json")
    text = write_report(place).with_name("models.html").read_text()
    assert "2.5 [2.38, 2.62]" in text, "the evaluation, not what was published"
    assert "0.25 [0.125, 0.375]" in text
    files = [part.split('"')[0] for part in text.split('src="')[1:]]
    assert sorted(Path(f).suffix for f in files) == [".jpg", ".mp4"]
    assert all((page.parent / f).stat().st_size for f in files)
    stamped = models.stat().st_mtime_ns
    write_report(place)
    assert models.stat().st_mtime_ns == stamped, "nothing is new, nothing is written"

    place.objects.delete([drawn.video_key(folder, "c1"), drawn.sheet_key(folder)])
    write_report(place)
    assert ".mp4" not in models.read_text()
    assert not any((page.parent / f).exists() for f in files), "nor is it left beside the page"
