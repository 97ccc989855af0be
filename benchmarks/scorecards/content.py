"""Scorecard of content: recall by kind on drawn scenes of styles it never saw, and a last look at real footage.

The drawn scenes are `modeling.scenes` with held-out styles and with photographs of scikit-image that no training scene
shows. No footage was used in training. Its figures were looked at once before the rules of the living face were set, so
they are a check, not a blind test, for those rules.
"""

from __future__ import annotations

import tempfile
from importlib.metadata import distribution
from pathlib import Path

import numpy as np

from benchmarks.scorecards.footage import manifest, media_of, read_frames, timeline_of
from benchmarks.scorecards.score import Row, bootstrap_ci, command
from modeling.scenes import KINDS, coded, load_photos, scene
from tasks import content_corpus
from tasks.content_features import SIDE_PX, features, spread
from tasks.media.media import Media
from tasks.signals import content, embedding, faces, landmarks

NUM_SCENES = 50
SEED = 100_000
PHOTOS = ("astronaut.png", "coffee.png", "chelsea.png", "rocket.jpg", "motorcycle_left.png", "camera.png")
SECONDS = 4.0
# What a person would call the files that are plainly of one kind, by tag of the manifest.
TAGS = {
    "slides": ("slides", "screencast"),
    "screencast": ("slides", "screencast"),
    "cartoon": ("cartoon",),
    "anime_face": ("cartoon",),
    "ink_painting_animation": ("cartoon",),
    "cgi_film": ("cartoon",),
    "test_pattern": ("test_pattern",),
    "counter_text": ("test_pattern",),
    "solid_colour": ("test_pattern",),
    "gameplay": ("game",),
    "statue": ("statue",),
}
MIXED = ("face_then_cartoon", "cartoon_then_face", "synthetic_fades", "color_mask_overlay", "silhouette")
"""Of more than one kind, or of none of ours."""


def probabilities(media: Media) -> np.ndarray:
    """Of KINDS, through the signal."""
    found = timeline_of(faces.compute, media)
    needs = {
        "embedding.video": embedding.compute(media, {}).vectors["video"],
        "faces": found,
        "landmarks": timeline_of(landmarks.compute, media, {"faces": found}),
    }
    row = content.compute(media, needs).row
    return np.array([row[f"{kind}_probability"] for kind in KINDS])


def told(p: np.ndarray) -> str:
    best = int(p.argmax())
    return list(KINDS)[best] if p[best] >= content.MIN_PROBABILITY else "natural"


def flat_share(media: Media) -> float:
    """Baseline: the share of flat blocks, the first of the hand-made features."""
    frames = media.at(1)
    return float(features([media.image(frames[i], SIDE_PX) for i in spread(len(frames))])[1])


def drawn() -> dict[str, list[tuple[np.ndarray, float]]]:
    """By kind: (probabilities, baseline) of each held-out scene, coded and read back."""
    root = Path(str(distribution("scikit-image").locate_file("skimage/data")))
    photos = load_photos([root / name for name in PHOTOS])
    made: dict[str, list[tuple[np.ndarray, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "scene.mp4"
        for kind in KINDS:
            for number in range(NUM_SCENES):
                seed = SEED + number
                file.write_bytes(coded(scene(kind, seed, photos, held_out=True), seed))
                media = content_corpus.media_of(file)
                made.setdefault(kind, []).append((probabilities(media), flat_share(media)))
    return made


def expected_calibration_error(pairs: list[tuple[float, bool]]) -> float:
    """ECE over ten equal bins of (probability of the told kind, is it right)."""
    sure, right = np.array([p for p, _ in pairs]), np.array([r for _, r in pairs])
    bins = np.minimum((sure * 10).astype(int), 9)
    return float(
        sum(abs(sure[bins == b].mean() - right[bins == b].mean()) * (bins == b).mean() for b in np.unique(bins))
    )


def run(root: Path) -> list[Row]:
    rows = []
    made = drawn()
    plain = np.median([flat for _, flat in made["natural"]])
    sure: dict[str, list[tuple[float, bool]]] = {}
    for number, kind in enumerate(KINDS):
        hits = {f"{kind}{i}": [told(p) == kind] for i, (p, _) in enumerate(made[kind])}
        for i, (p, _) in enumerate(made[kind]):
            sure[f"{kind}{i}"] = [(float(p.max()), int(p.argmax()) == number)]
        value, low, high = bootstrap_ci(hits, np.mean)
        naive = float(np.mean([(flat <= plain) if kind == "natural" else (flat > plain) for _, flat in made[kind]]))
        claim, name = (
            f"drawn {kind.replace('_', ' ')} of unseen styles",
            "flat share above natural's median: not natural",
        )
        rows.append(
            Row("content", claim, "recall", value, low, high, NUM_SCENES, NUM_SCENES, naive, 0.9, "higher", name)
        )
    screens = {
        f"{kind}{i}": [told(p) in ("slides", "screencast")]
        for kind in ("slides", "screencast")
        for i, (p, _) in enumerate(made[kind])
    }
    value, low, high = bootstrap_ci(screens, np.mean)
    n = len(screens)
    rows.append(Row("content", "slides and screens, taken as one", "recall", value, low, high, n, n, None, 0.9))
    every = {
        f"{kind}{i}": [told(p) != "natural"]
        for kind in KINDS
        if kind != "natural"
        for i, (p, _) in enumerate(made[kind])
    }
    value, low, high = bootstrap_ci(every, np.mean)
    rows.append(
        Row(
            "content",
            "drawn scenes of all kinds are rejected",
            "recall",
            value,
            low,
            high,
            len(every),
            len(every),
            None,
            0.9,
        )
    )
    value, low, high = bootstrap_ci(sure, expected_calibration_error)
    n = len(sure)
    rows.append(
        Row(
            "content", "probabilities of drawn scenes are calibrated", "ECE", value, low, high, n, n, None, 0.1, "lower"
        )
    )
    return rows + footage_rows(root, float(plain))


def footage_rows(root: Path, plain: float) -> list[Row]:
    rejects: dict[str, list[bool]] = {}
    real: dict[str, list[bool]] = {}
    found: dict[str, list[bool]] = {}
    exact: dict[str, list[bool]] = {}
    naive: list[bool] = []
    for entry in manifest(root, "talk", "neg", "synth"):
        folder, tags = entry["file"].split("/")[0], entry["tags"]
        wanted = {kind for tag in tags for kind in TAGS.get(tag, ())}
        if set(tags) & set(MIXED) or (folder == "synth" and not wanted):
            continue
        media = media_of(read_frames(entry["path"], 5.0, max_s=SECONDS)[0], 5.0)
        kind, person = told(probabilities(media)), entry["person"]
        print(f"{entry['file']}: {kind}", flush=True)
        if wanted:
            found.setdefault(person, []).append(kind != "natural")
            exact.setdefault(person, []).append(kind in wanted)
        elif folder == "talk":
            rejects.setdefault(person, []).append(kind != "natural")
            naive.append(flat_share(media) > plain)
        else:
            real.setdefault(person, []).append(kind != "natural")
    rows = []
    for claim, values, measure, goal, better, baseline in (
        ("talking heads pass", rejects, "share rejected", 0.0, "lower", float(np.mean(naive))),
        ("other plain footage passes", real, "share rejected", 0.1, "lower", None),
        ("real slides, cartoons, games, patterns, statue are rejected", found, "share rejected", 0.9, "higher", None),
        ("and by the right name", exact, "share named right", 0.9, "higher", None),
    ):
        value, low, high = bootstrap_ci(values, np.mean)
        n = sum(len(v) for v in values.values())
        name = "flat share" if baseline is not None else ""
        rows.append(Row("content", claim, measure, value, low, high, n, len(values), baseline, goal, better, name))  # type: ignore[arg-type]
    return rows


if __name__ == "__main__":
    command(run)
