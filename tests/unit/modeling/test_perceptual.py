"""Measures by learnt networks: best for the same, worse with distortion, the same again, and clear about wrong weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm

from modeling.motion import Motion
from modeling.motion_set import MotionClip
from modeling.perceptual import frechet, lpips, syncnet
from modeling.perceptual.frechet import frechet_distance, fvd, videos_of
from modeling.perceptual.measures import Perceptual
from modeling.perceptual.mfcc import mfcc
from modeling.perceptual.weights import digest_of, read_weights
from modeling.recipes.renderer import renderer
from modeling.renderer import RendererNet
from modeling.renderer_metrics import TOO_SHORT, evaluate
from tests.perceptual_weights import lpips_folder, syncnet_file
from tests.unit.modeling.drawn_lips import face_clip

CLIP = face_clip(num=12)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> lpips.Lpips:
    return lpips.load(lpips_folder(tmp_path_factory.mktemp("lpips")))


@pytest.fixture(scope="module")
def ears(tmp_path_factory: pytest.TempPathFactory) -> syncnet.SyncNet:
    return syncnet.load(syncnet_file(tmp_path_factory.mktemp("lse")))


def noisy(pictures: np.ndarray, size: float) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, size, pictures.shape)
    return np.clip(pictures + noise, 0, 255).astype(np.uint8)


def test_lpips_is_nought_for_the_same_and_grows_with_noise(net: lpips.Lpips) -> None:
    told = [lpips.lpips_measures(net, noisy(CLIP.true, size), CLIP.true, CLIP.frames) for size in (0, 8, 40)]
    assert told[0] == {"lpips": 0.0, "temporal_lpips": 0.0}
    assert 0 < told[1]["lpips"] < told[2]["lpips"]
    assert 0 < told[1]["temporal_lpips"] < told[2]["temporal_lpips"]
    assert told[2] == lpips.lpips_measures(net, noisy(CLIP.true, 40), CLIP.true, CLIP.frames)


def test_a_still_error_is_no_flicker_and_one_that_comes_and_goes_is(net: lpips.Lpips) -> None:
    """Of a still mouth, so that nothing of the change is the mouth's own."""
    true = np.repeat(CLIP.true[:1], 6, axis=0)
    other = np.repeat(noisy(true[:1], 20), 6, axis=0)
    still = lpips.lpips_measures(net, other, true, np.arange(6))
    coming = np.where(np.arange(6)[:, None, None, None] % 2, other, true)
    assert still["lpips"] > 0.0
    assert still["temporal_lpips"] == 0
    assert lpips.lpips_measures(net, coming, true, np.arange(6))["temporal_lpips"] > 0
    assert "temporal_lpips" not in lpips.lpips_measures(net, coming, true, np.arange(0, 12, 2))


def test_frames_between_minus_one_and_one_are_shifted_and_scaled_as_the_paper_does(net: lpips.Lpips) -> None:
    """By the formula of the paper, written out, on one pair of pictures."""
    pair = np.stack([CLIP.true[0], noisy(CLIP.true, 30)[0]])
    given = torch.from_numpy(pair.transpose(0, 3, 1, 2).copy()).double() / 255 * 2 - 1
    shift, scale = (torch.tensor(v).double()[:, None, None] for v in (lpips.SHIFT, lpips.SCALE))
    hidden, expected = (given - shift) / scale, 0.0
    with torch.inference_mode():
        for number, layer in enumerate(net.features):
            hidden = layer(hidden.float()).double()
            if number in lpips.TAKEN_AT:
                long = hidden / hidden.norm(dim=1, keepdim=True)
                weight = getattr(net, f"lin{lpips.TAKEN_AT.index(number)}")["model"][1].weight[0]
                expected += float((weight * (long[0] - long[1]) ** 2).sum(dim=0).mean())
    told = lpips.lpips_measures(net, pair[1:], pair[:1], np.zeros(1))
    assert told["lpips"] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda folder: (folder / "alex.pth").unlink(), r"needs one file alexnet\*.pth and alex.pth; it has alexnet"),
        (lambda folder: (folder / "alex.pth").write_bytes(b"no weights"), "can't be read as weights"),
        (lambda folder: torch.save([1, 2], folder / "alex.pth"), "holds no state dict, tensors by name"),
        (lambda folder: torch.save({}, folder / "alex.pth"), "is no heads of LPIPS 0.1 on AlexNet, it has no lin0"),
        (
            lambda folder: torch.save({"features.0.weight": torch.ones(2)}, folder / "alexnet-owt-00000000.pth"),
            r"is no AlexNet of torchvision, its features.0.weight has shape \(2,\), not \(64, 3, 11, 11\)",
        ),
        (
            lambda folder: torch.save(
                {
                    f"lin{k}.model.1.weight": torch.full((1, c, 1, 1), float("nan"))
                    for k, c in enumerate(lpips.CHANNELS)
                },
                folder / "alex.pth",
            ),
            "lin0.model.1.weight holds values that are not finite",
        ),
    ],
)
def test_wrong_weights_are_told(tmp_path: Path, spoil: object, told: str) -> None:
    spoil(lpips_folder(tmp_path))  # type: ignore[operator]
    with pytest.raises(ValueError, match=told):
        lpips.load(tmp_path)


def test_a_lacking_file_and_code_in_a_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there is no file"):
        syncnet.load(tmp_path / "syncnet_v2.model")
    torch.save({"a": Path("x")}, tmp_path / "code.pth")  # an object that is no tensor would run code as it is read
    with pytest.raises(ValueError, match="can't be read as weights"):
        read_weights(tmp_path / "code.pth")
    torch.save({"a": torch.ones(1)}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match="is no SyncNet V2"):
        syncnet.load(tmp_path / "other.pth")


def test_weights_are_known_by_what_is_in_them(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    first.write_bytes(b"1")
    second.write_bytes(b"1")
    assert digest_of([first]) == digest_of([second])
    second.write_bytes(b"2")
    assert digest_of([first]) != digest_of([second])


def test_mfcc_of_a_tone_and_of_silence() -> None:
    """Thirteen a row, 100 rows a second less one; loudness is the first, and pitch moves the others."""
    time = np.arange(16_000) / 16_000
    low, high = (mfcc(0.3 * np.sin(2 * np.pi * hz * time)) for hz in (200, 3000))
    assert low.shape == (99, 13)
    assert mfcc(np.zeros(16_000))[:, 0] == pytest.approx(np.log(np.finfo(float).eps))
    louder = mfcc(0.6 * np.sin(2 * np.pi * 200 * time))
    assert (louder - low)[5:-5, 0] == pytest.approx(2 * np.log(2), abs=0.01)
    assert np.abs(louder - low)[5:-5, 1:].max() < 0.2
    assert np.abs(high - low)[5:-5, 1:].max() > 5


def test_lse_finds_lips_at_their_sound_and_is_surer_of_it_than_of_others() -> None:
    """Of embeddings whose answer is known: the same numbers at an offset of three frames."""
    sounds = torch.from_numpy(np.random.default_rng(0).normal(size=(80, 32))).float()
    at = np.arange(20, 60)
    best, late = syncnet.lse(sounds[at], sounds, at), syncnet.lse(sounds[at + 3], sounds, at)
    assert best["lse_d"] == pytest.approx(0, abs=1e-4)
    assert best["lse_c"] > 5
    assert late["lse_d"] == best["lse_d"], "the offset that fits best is taken"
    assert late["lse_c"] == pytest.approx(best["lse_c"], rel=0.01)
    far = [syncnet.lse(sounds[at] + size * torch.randn(40, 32), sounds, at) for size in (0.5, 3.0)]
    assert best["lse_d"] < far[0]["lse_d"] < far[1]["lse_d"]
    assert best["lse_c"] > far[0]["lse_c"] > far[1]["lse_c"]


def test_lse_of_pictures_needs_sound_on_both_sides_and_is_the_same_again(ears: syncnet.SyncNet) -> None:
    sound = np.random.default_rng(0).normal(0, 0.1, 40 * 640).astype(np.float32)
    faces = list(np.repeat(CLIP.true, 2, axis=0)[:10])
    frames = np.arange(14, 24)
    shown = {"ours": faces, "again": faces, "other": [255 - f for f in faces]}
    told = syncnet.lse_measures(ears, shown, frames, sound)
    assert told["ours"] == told["again"] != told["other"]
    assert told["ours"]["lse_d"] > 0
    assert told["ours"]["lse_c"] >= 0
    assert told["ours"] != syncnet.lse_measures(ears, {"ours": faces}, frames, sound[::-1].copy())["ours"]
    assert syncnet.lse_measures(ears, shown, frames, sound[: 35 * 640]) == {}
    assert syncnet.lse_measures(ears, shown, np.arange(0, 40, 4), sound) == {}, "no five frames follow each other"


@pytest.mark.parametrize("num", [6, 200])
def test_frechet_distance_is_that_of_the_formula(num: int) -> None:
    """Fewer videos than features, where the root of a product of covariances is hard, and more."""
    draw = np.random.default_rng(0)
    a, b = draw.normal(0, 1, (num, 12)), draw.normal(0.3, 2, (num + 3, 12))
    root = sqrtm(np.cov(a.T) @ np.cov(b.T))
    apart = np.square(a.mean(axis=0) - b.mean(axis=0)).sum()
    expected = apart + np.trace(np.cov(a.T) + np.cov(b.T) - 2 * root.real)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-4)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-9)
    twice = np.array([2, 0, *[1] * (num - 2)])
    again = np.concatenate([a[:1], a[:1], a[2:]])
    assert frechet_distance(a, b, twice) == pytest.approx(frechet_distance(again, b))


def features(shift: float, num: int = 20) -> list[np.ndarray]:
    return [np.random.default_rng(k).normal(0, 1, (2, 4)) + shift for k in range(num)]


def test_fvd_has_an_interval_over_people_its_number_and_how_far_ours_is_ahead() -> None:
    clips = [
        {"ours": a, "warp": b, "true": c} for a, b, c in zip(features(0.5), features(2.0), features(0), strict=True)
    ]
    people = [f"p{k // 2}" for k in range(20)]
    measures, ahead = fvd(clips, people, "ours", "true")
    assert set(measures) == {"ours", "warp"}
    assert measures["ours"] == pytest.approx({"value": 1.0, "low": 1.0, "high": 1.0, "n": 40}, abs=1e-3)
    assert measures["warp"]["value"] == pytest.approx(16.0)
    assert ahead["warp"]["value"] == pytest.approx(15.0)
    assert (measures, ahead) == fvd(clips, people, "ours", "true")
    spread = [{**c, "ours": c["ours"] + (k % 3)} for k, c in enumerate(clips)]
    wide = fvd(spread, people, "ours", "true")[0]["ours"]
    assert wide["low"] < wide["value"] < wide["high"]


def test_of_few_videos_the_interval_still_lies_about_the_figure() -> None:
    """Fewer videos than features: sets with people drawn twice lie well above the whole one."""
    draw = np.random.default_rng(0)
    clips = [{who: draw.normal(0, 1, (4, 40)) for who in ("ours", "warp", "true")} for _ in range(8)]
    measures, ahead = fvd(clips, [f"p{k}" for k in range(8)], "ours", "true")
    for of in (measures["ours"], measures["warp"], ahead["warp"]):
        assert of["low"] < of["value"] < of["high"]
    assert ahead["warp"]["low"] < 0 < ahead["warp"]["high"], "both are drawn alike"


def test_videos_are_of_frames_that_follow_each_other() -> None:
    frames = np.array([*range(20), *range(40, 80)])
    assert videos_of(frames) == [slice(0, 16), slice(20, 36), slice(36, 52)]
    assert videos_of(np.arange(0, 64, 2)) == []


def test_too_few_videos_are_refused_and_few_are_told() -> None:
    assert "FVD needs 16 videos of 16 frames of 2 people, here are 15 of 9" in frechet.refusal(15, 9)
    assert "here are 40 of 1" in frechet.refusal(40, 1)
    assert frechet.refusal(16, 2) == ""
    assert "FVD of 16 videos" in frechet.caution(16)
    assert frechet.caution(2048) == ""


def mean_colours(videos: Sequence[np.ndarray]) -> np.ndarray:
    """Features that stand for a network's: the mean of each colour, and how much it moves."""
    rows = [[*v.mean(axis=(0, 1, 2)), *v.std(axis=0).mean(axis=(0, 1))] for v in videos]
    return np.array(rows).reshape(len(rows), 6)


def test_an_evaluation_has_them_beside_the_other_measures_and_the_baselines(
    net: lpips.Lpips, ears: syncnet.SyncNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frechet, "NUM_RESAMPLES", 20)
    monkeypatch.setattr(frechet, "LEAST_VIDEOS", 6)
    monkeypatch.setattr(
        syncnet.SyncNet, "lips", lambda net, faces: faces.mean(dim=(2, 3, 4))
    )  # the whole one takes a minute
    monkeypatch.setattr(syncnet.SyncNet, "sounds", lambda net, rows: rows.mean(dim=(1, 2))[:, :3])
    clips = [replace(face_clip(f"c{k}", f"p{k % 3}", 32, seed=k), plates=[("avatar", 0)]) for k in range(3)]
    sound = np.random.default_rng(0).normal(0, 0.1, 37 * 640).astype(np.float32)
    still = Motion(np.zeros((37, 9), np.float32), np.ones((37, 9), bool))
    spoken = {c.clip_id: MotionClip(c.clip_id, "v", c.who, 0, still, sound, np.ones(37, np.float32)) for c in clips}
    drawer = RendererNet(renderer("renderer_tiny")).eval()
    told = evaluate(drawer, clips, perceptual=Perceptual(net, ears, mean_colours, spoken))
    of = told["plates"]["avatar"]
    for measure in ("lpips", "temporal_lpips", "fvd", "lse_d", "lse_c"):
        assert of["measures"]["ours"][measure] == of["measures"]["warp"][measure], "untrained it draws the warp"
        assert set(of["measures"]["copy"][measure]) == {"value", "low", "high", "n"}
        assert of["ahead"]["warp"][measure]["value"] == 0
    assert of["measures"]["ours"]["fvd"]["n"] == 6
    assert of["ahead"]["copy"]["lpips"]["value"] == pytest.approx(
        of["measures"]["copy"]["lpips"]["value"] - of["measures"]["ours"]["lpips"]["value"], abs=2e-4
    ), "less is better"
    assert set(of["measures"]["true"]) == {"lse_d", "lse_c"}
    assert told["notes"][0].startswith("FVD of 6 videos")
    short = evaluate(drawer, clips[:2], perceptual=Perceptual(None, ears, mean_colours, {
        name: replace(clip, sound=clip.sound[: 32 * 640]) for name, clip in spoken.items()
    }))  # fmt: skip
    assert "FVD needs 6 videos" in short["notes"][0]
    assert short["notes"][1] == TOO_SHORT
    assert not {"fvd", "lpips", "lse_d"} & set(short["plates"]["avatar"]["measures"]["ours"])
