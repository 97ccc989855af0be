"""Scorecard of content: recall by kind on drawn scenes, first of unseen seeds, then of unseen styles; then real footage.

The drawn scenes are `modeling.scenes` with seeds and with photographs of scikit-image that no training scene shows. The
styles held out (calendars, mail, diagrams, comparisons, a shooter, a landscape, beasts, FFmpeg's other patterns, insets
by four) are the harder test; an earlier look at held-out spreadsheets, chats and tables moved those into training.

No footage was used in training. It was looked at before the rules of the living face were set and while styles were
added to the drawn games, patterns, cartoons and natural scenes, so it is a check, not a blind test. A scene is a person
in the intervals.
"""

from __future__ import annotations

import tempfile
from importlib.metadata import distribution
from pathlib import Path
from typing import Literal

import numpy as np

from benchmarks.scorecards.footage import manifest, media_of, read_frames, timeline_of
from benchmarks.scorecards.score import Row, bootstrap_ci, command, expected_calibration_error
from modeling.scenes import JUDGING_SEED, KINDS, SEED_STEP, coded, load_photos, scene
from tasks import content_corpus
from tasks.content_features import SIDE_PX
from tasks.media.media import Media
from tasks.signals import content, embedding, faces, landmarks

NUM_SCENES = 50
SEED = JUDGING_SEED * SEED_STEP
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


def flat_share(media: Media) -> float:
    """Baseline: the share of blocks of 8 px whose gray levels span at most 3."""
    import cv2

    shares = []
    for frame in media.at(1):
        gray = cv2.cvtColor(media.image(frame, SIDE_PX), cv2.COLOR_RGB2GRAY)
        height, width = (side // 8 for side in gray.shape)
        blocks = gray[: height * 8, : width * 8].reshape(height, 8, width, 8)
        shares.append(np.ptp(blocks, axis=(1, 3)) <= 3)
    return float(np.mean(shares))


Judged = tuple[np.ndarray, float]
"""Probabilities of KINDS, and the baseline's share."""


def drawn(*, held_out: bool) -> dict[str, list[Judged]]:
    """Of NUM_SCENES scenes of each kind, coded and read back."""
    root = Path(str(distribution("scikit-image").locate_file("skimage/data")))
    photos = load_photos([root / name for name in PHOTOS])
    made: dict[str, list[Judged]] = {kind: [] for kind in KINDS}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "scene.mp4"
        for kind in KINDS:
            for seed in range(SEED, SEED + NUM_SCENES):
                file.write_bytes(coded(scene(kind, seed, photos, held_out=held_out), seed))
                media = content_corpus.media_of(file)
                made[kind].append((probabilities(media), flat_share(media)))
                best = int(made[kind][-1][0].argmax())
                print(
                    f"{kind} {seed} held_out={held_out}: {content.named(made[kind][-1][0])}, {list(KINDS)[best]}",
                    flush=True,
                )
    return made


def run(root: Path) -> list[Row]:
    seen, unseen = drawn(held_out=False), drawn(held_out=True)
    plain = float(np.median([flat for _, flat in seen["natural"]]))
    rows = drawn_rows(seen, "unseen seeds and photographs", plain)
    rows += drawn_rows(unseen, "styles never trained on", plain)
    return rows + footage_rows(root, plain)


def drawn_rows(made: dict[str, list[Judged]], what: str, plain: float) -> list[Row]:
    """Recall of each kind, of rejection as such, of slides and screens taken as one, and the calibration."""
    named = {k: [content.named(p) for p, _ in made[k]] for k in KINDS}
    rows = []
    for kind in KINDS:
        hits = [[name == kind] for name in named[kind]]
        naive = float(np.mean([(flat > plain) == (kind != "natural") for _, flat in made[kind]]))
        label = "flat share above natural's median: not natural"
        rows.append(_row(f"drawn {kind.replace('_', ' ')}, {what}", "recall", hits, 0.9, "higher", naive, label))
    screens = ("slides", "screencast")
    hits = [[name in screens] for kind in screens for name in named[kind]]
    rows.append(_row(f"slides and screens taken as one, {what}", "recall", hits, 0.9, "higher"))
    hits = [[name != "natural"] for kind in KINDS if kind != "natural" for name in named[kind]]
    rows.append(_row(f"anything drawn is rejected, {what}", "recall", hits, 0.9, "higher"))
    pairs = [[(float(p.max()), list(KINDS)[int(p.argmax())] == kind)] for kind in KINDS for p, _ in made[kind]]
    value, low, high = bootstrap_ci({str(i): pair for i, pair in enumerate(pairs)}, expected_calibration_error)
    n = len(pairs)
    claim = f"*_probability of the kind told is calibrated, {what}"
    return [*rows, Row("content", claim, "ECE", value, low, high, n, n, None, 0.1, "lower")]


def _row(
    claim: str,
    measure: str,
    hits: list[list[bool]],
    goal: float,
    better: Literal["higher", "lower"],
    baseline: float | None = None,
    baseline_name: str = "",
) -> Row:
    """One row of the mean of `hits`, of which each list is a scene's or a person's."""
    value, low, high = bootstrap_ci({str(i): of for i, of in enumerate(hits)}, np.mean)
    n, people = sum(len(of) for of in hits), len(hits)
    return Row("content", claim, measure, value, low, high, n, people, baseline, goal, better, baseline_name)


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
        kind, person = content.named(probabilities(media)), entry["person"]
        print(f"{entry['file']}: {kind}", flush=True)
        if wanted:
            found.setdefault(person, []).append(kind != "natural")
            exact.setdefault(person, []).append(kind in wanted)
        elif folder == "talk":
            rejects.setdefault(person, []).append(kind != "natural")
            naive.append(flat_share(media) > plain)
        else:
            real.setdefault(person, []).append(kind != "natural")
    flat = float(np.mean(naive))
    return [
        _row("talking heads pass", "share rejected", [*rejects.values()], 0.0, "lower", flat, "flat share"),
        _row("other plain footage passes", "share rejected", [*real.values()], 0.1, "lower"),
        _row(
            "real slides, cartoons, games, patterns, statue are rejected",
            "share rejected",
            [*found.values()],
            0.9,
            "higher",
        ),
        _row("and by the right name", "share named right", [*exact.values()], 0.9, "higher"),
    ]


if __name__ == "__main__":
    command(run)
