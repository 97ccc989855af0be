"""Ratings become a signal of its own: it ranks clips as people do, rolls out, follows what it needs, and learns again."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import headroom
from flows import labelled
from flows.labelled import features
from flows.rated_quality import run_rated_quality
from infra.clip_features import Inputs, Linear
from store import registry
from store.label_views import RATINGS
from store.workspace import Workspace, open_workspace
from tasks import freeze, promote, signal_counts, tier
from tasks.backend import chosen
from tasks.backends.rated import FILE, Rated, rated_quality
from tasks.curate import bring_up_to_date
from tasks.ingest import ingest
from tasks.media.media import Media
from tasks.media.reader import Reader
from tasks.plan import wanted_signals
from tasks.signal import Column, LoadedSignal, Needs, NotApplicable, Output, Signal
from tasks.signals import discover, visual_quality
from tasks.signals import rated_quality as own
from tasks.stale import stale_clips
from tests.unit.tasks import stand_in
from tests.unit.tasks.raters import Desk, keyframes

pytestmark = pytest.mark.slow

LUMAS = range(60, 216, 13)
RATED_LATER = LUMAS[2::3]
MIDDLE = 131
FEW = {"least_clips": 6, "least_groups": 6, "num_folds": 4}


def contrast(media: Media, needs: Needs) -> Output:
    """How far the picture is from a middle gray, whichever way."""
    return Output(row={"subject_speed": abs(float(np.mean(needs["luma"]["luma"].to_numpy())) - MIDDLE)})


def motion() -> LoadedSignal:
    columns = (Column("subject_speed", pa.float32(), "", "a stand-in", decimals=1),)
    return stand_in.loaded("motion", Signal(grain="clip", version=1, needs=("luma",), columns=columns), contrast)


def signal(setting: str = "") -> LoadedSignal:
    """The signal itself, as the setting says; of its needs those that the stand-ins have."""
    spec, compute = own.SIGNAL, own.compute
    if setting:
        few = {"needs": ("motion", "visual_quality"), "optional": ("motion", "visual_quality")}
        backend = own.BACKENDS["people"]
        backend = type(backend)(**{**vars(backend), "changes": {**backend.changes, **few}})
        spec, compute = chosen("rated_quality", spec, compute, {"people": backend}, setting.partition("=")[2])
    return stand_in.loaded("rated_quality", spec, compute)


@pytest.fixture
def known(use: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    quality = stand_in.loaded("visual_quality", visual_quality.SIGNAL, visual_quality.compute)

    def change(setting: str = "", **changed: LoadedSignal) -> None:
        made = use(
            **{
                "keyframes": keyframes(), "visual_quality": quality, "motion": motion(), **changed,
                "rated_quality": signal(setting),
            }
        )  # fmt: skip
        for module in (tier, labelled):
            monkeypatch.setattr(module, "discover", lambda: made)

    return change


@pytest.fixture
def rated_place(tmp_path: Path, known: Callable[..., None], quick_sql: None) -> Workspace:
    """Twelve clips, by the default signals."""
    known()
    workspace = open_workspace(tmp_path / "work space")
    ingest(workspace, [str(stand_in.make_video(tmp_path / f"{n}.mp4", 2.0, luma=n, tone=False)) for n in LUMAS])
    bring_up_to_date(workspace, stand_in.serial(workspace))
    return workspace


def column(workspace: Workspace, name: str) -> dict[str, Any]:
    with workspace.views() as reader:
        return dict(reader.sql(f"SELECT clip_id, {name} FROM signals ORDER BY clip_id").iter_rows())


def grades(workspace: Workspace) -> dict[str, float]:
    return column(workspace, "rated_quality_visual_quality")


def write_tier(workspace: Workspace, name: str, clause: str) -> None:
    folder = workspace.settings.workspace / "tiers"
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.sql").write_text(f"SELECT clip_id FROM clips JOIN signals USING (clip_id) WHERE {clause}")


def test_from_ratings_to_a_tier_in_the_order_that_people_see(
    rated_place: Workspace, known: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace, root = rated_place, rated_place.settings.workspace

    def run() -> dict[str, int]:
        return dict(bring_up_to_date(workspace, stand_in.serial(workspace)).tally.computed)

    with workspace.views() as reader:
        assert "rated_quality_status" not in reader.columns("signals"), "without ratings there is nothing to compute"
        assert signal_counts.counts(reader)["rated_quality"] == signal_counts.Counts(), "and nothing is late"
    with pytest.raises(ValueError, match="0 clips of 0 people or videos are rated; it takes 30 clips of 8"):
        run_rated_quality(root)

    liked = {c: int(np.clip(round(1 + v / 16), 1, 5)) for c, v in column(workspace, "motion_subject_speed").items()}
    with workspace.views() as reader:
        of_name = dict(reader.sql("SELECT name, clip_id FROM clips JOIN videos USING (video_id)").iter_rows())
    later = {of_name[f"{luma}.mp4"] for luma in RATED_LATER}
    desk = Desk(workspace)
    desk.rate(liked.__getitem__, only=liked.keys() - later)
    told = run_rated_quality(root, changed=FEW)
    judged = told["metrics"]["held_people"]
    ours, stored = (judged["visual_quality"]["measures"][who]["mean_squared_error"] for who in ("ours", "as_it_is"))
    assert ours["high"] < stored["value"]
    for dimension in ("facial_naturalness", "lip_sync_accuracy", "motion_smoothness"):
        assert judged[dimension] == {"left_out": "people gave every clip 3"}
    assert registry.load(workspace, "rated_quality").id == told["id"]

    known(told["setting"])
    assert "rated_quality" in wanted_signals(None), "by the setting it is a signal like all others"
    with workspace.views() as reader:
        assert len(stale_clips(reader, ["rated_quality"])) == len(LUMAS)
    rates, sampled = [], Reader.sampled

    def noted(self: Reader, proxy: Path, audio: Path | None, start: int, end: int, fps: float | None) -> Media:
        rates.append((audio, fps))
        return sampled(self, proxy, audio, start, end, fps)

    with monkeypatch.context() as patch:
        patch.setattr(Reader, "sampled", noted)
        assert run() == {"rated_quality": len(LUMAS)}
    assert set(rates) == {(None, None)}, "nothing is decoded"
    assert run() == {}, "a second run computes nothing"
    before = grades(workspace)
    assert max(abs(before[c] - liked[c]) for c in liked) < 1, "clips that nobody rated, too"
    assert set(column(workspace, "rated_quality_motion_smoothness").values()) == {None}
    assert "motion_smoothness: people gave every clip 3" in next(
        iter(column(workspace, "rated_quality_left_out").values())
    )

    model = Rated.read(root / "ratings" / f"rated_quality-{told['id']}" / FILE)
    with workspace.views() as reader:
        given = features(workspace, reader, list(model.names), own.VECTORS, list(before))
    said = np.clip(model.models["visual_quality"].values(given), 1, 5)
    assert np.allclose(said, list(before.values()), atol=1e-3), "the signal sees what the training saw"

    write_tier(workspace, "sharp", "visual_quality_quality >= 3")
    write_tier(workspace, "liked", "rated_quality_visual_quality >= 3.5")
    freeze.build(workspace, "liked")
    members = {name: set(tier.members(workspace, name)["clip_id"]) for name in ("sharp", "liked")}
    assert members["liked"] - members["sharp"], "clips that the old order put last"
    assert members["sharp"] - members["liked"]

    def brighter(media: Media, needs: Needs) -> Output:
        made = contrast(media, needs).row["subject_speed"]
        return Output(row={"subject_speed": made + 20 * (made > 40)})

    improved = stand_in.raised(motion(), brighter)
    known(told["setting"], motion=improved)
    changed = [c for c, v in column(workspace, "motion_subject_speed").items() if v > 40]
    assert run() == {"motion": len(LUMAS), "rated_quality": len(changed)}, "exactly the rows whose need changed"
    assert 0 < len(changed) < len(LUMAS)
    before = grades(workspace)

    desk.rate(liked.__getitem__, only=later)
    desk.close()
    again = run_rated_quality(root, changed={**FEW, "least_clips": 12})
    assert again["id"] != told["id"]
    known(again["setting"], motion=improved)
    with workspace.views() as reader:
        assert len(stale_clips(reader, ["rated_quality"])) == len(LUMAS), "more ratings, another version"
        (state,) = promote.states(workspace, reader)
    assert (state.signal, state.backend, state.computed) == ("rated_quality", "people", 0)
    assert grades(workspace) == before, "readers see those before until all are there"
    assert run() == {"rated_quality": len(LUMAS)}
    assert grades(workspace) != before
    promote.roll_back(workspace, "rated_quality")
    assert grades(workspace) == before


def test_what_nobody_rated_and_what_is_noise_and_what_is_killed_gives_no_number(
    rated_place: Workspace,
    known: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    noisy = open_workspace(shutil.copytree(rated_place.settings.workspace, tmp_path / "noisy"))
    bring_up_to_date(noisy, stand_in.serial(noisy), signals=["rated_quality"])
    assert set(column(noisy, "rated_quality_status").values()) == {"not_applicable"}
    assert "headroom train rated_quality" in next(iter(column(noisy, "rated_quality_reason").values()))
    assert set(grades(noisy).values()) == {None}
    rng = np.random.default_rng(3)
    rate(noisy, lambda clip: int(rng.integers(3, 5)))
    with pytest.raises(
        ValueError,
        match=r"visual_quality: not surely nearer to .* \(mean squared error \d.* 3; .*label more",
    ):
        run_rated_quality(noisy.settings.workspace, changed=FEW)
    assert not (noisy.settings.workspace / "ratings").exists()

    root, move = rated_place.settings.workspace, Path.replace
    speeds = column(rated_place, "motion_subject_speed")
    rate(rated_place, lambda clip: int(np.clip(round(1 + speeds[clip] / 16), 1, 5)))

    def killed(self: Path, target: Path) -> Path:
        if self.name == f".{FILE}":
            raise KeyboardInterrupt
        return move(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            run_rated_quality(root, changed=FEW)
    published = registry.load(rated_place, "rated_quality").id
    folder = root / "ratings" / f"rated_quality-{published}"
    assert [f.name for f in folder.iterdir()] == [f".{FILE}"], "no setting was told"

    monkeypatch.setenv("HEADROOM_BACKENDS", "speech=whisper rated_quality=people?model=/old")
    told = run_rated_quality(root, changed=FEW)
    assert told["id"] == published
    assert [f.name for f in folder.iterdir()] == [FILE]
    assert (folder / FILE).read_bytes() == registry.load(rated_place, published).weights
    assert told["backends"] == f"speech=whisper {told['setting']}", "what else is set stays"
    changed = [part for name, value in FEW.items() for part in ("--set", f"{name}={value}")]
    with pytest.raises(SystemExit) as end:
        headroom.main(["train", "rated_quality", "--workspace", str(root), *changed])
    assert end.value.code == 0
    said = " ".join(capsys.readouterr().out.split())
    assert f'HEADROOM_BACKENDS="{told["backends"]}" headroom curate' in said
    assert "left out: people gave every clip 3" in said
    assert "columns for tiers: rated_quality_visual_quality, rated_quality_overall; those left out stay NULL" in said


def rate(workspace: Workspace, grade: Callable[[str], int]) -> None:
    desk = Desk(workspace)
    desk.rate(grade)
    desk.close()


def test_it_says_what_it_needs_and_how_its_columns_are_named() -> None:
    assert tuple(RATINGS) == own.DIMENSIONS
    spec = discover()["rated_quality"].spec
    assert (spec.on_request, spec.needs) == (True, ())
    assert own.BACKENDS["people"].changes["needs"] == own.NEEDS
    assert set(own.NEEDS) <= set(discover())
    for name, vector in own.VECTORS:
        assert vector in discover()[name].spec.vectors
    with pytest.raises(ValueError, match="there is no folder '/nowhere'; headroom train rated_quality writes one"):
        signal("rated_quality=people?model=/nowhere")


def test_what_the_model_can_not_read_is_told() -> None:
    inputs = Inputs({"embedding_video": np.ones((3, 1))}, np.zeros(2), np.ones(2))
    rated = Rated(
        {"overall": Linear(inputs, np.array([1.0, 0.5]), 3.0)}, ("motion_speed",), {"lip_sync_accuracy": "few"}
    )
    media = Media(0, 25, 64, 48)

    def said(needs: Needs) -> Any:
        return rated_quality(rated, media, needs, own.compute).row

    full = {"motion": {"speed": 1.0}, "embedding": {}, "embedding.video": np.full(3, 0.5)}
    assert said(full) == {"overall": 4.75, "lip_sync_accuracy": None, "left_out": "lip_sync_accuracy: few"}
    assert said({"motion": {"speed": 1.0}, "embedding": None})["overall"] == 4.0, "what is missing counts as the mean"
    assert said({"motion": {"speed": 9.0}})["overall"] == 5.0
    with pytest.raises(NotApplicable, match="none of what the ratings were learnt from"):
        said({"motion": None})
    with pytest.raises(ValueError, match="the model reads motion_speed, which is there no more"):
        said({"motion": {"velocity": 1.0}})
    with pytest.raises(ValueError, match="embedding_video of 3 numbers, it has 2 now"):
        said({**full, "embedding.video": np.zeros(2)})
