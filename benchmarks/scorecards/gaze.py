"""Scorecard of gaze: eyes of rendered heads, the mirror, and frames that a person sorted by whom they look at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.scorecards.footage import manifest, media_of, read_frames, timeline_of
from benchmarks.scorecards.head_pose import skin_of
from benchmarks.scorecards.rendered_head import render, shape_of
from benchmarks.scorecards.score import Row, auc_of_pairs, bootstrap_ci, command
from tasks.signal import NotApplicable
from tasks.signals import faces, gaze, head_pose, landmarks

RENDERED_PER_PERSON = 4
HEAD_DEG = (20.0, 10.0, 5.0)
EYES_DEG = (25.0, 15.0)
"""Gaze of a rendered head, relative to the head's yaw and pitch."""
SECONDS = 6.0
# Frames of the proxy on which the person looks into the camera, or elsewhere, as one viewer sorted them by eye, without
# seeing the signal's figures; frames he was unsure of are not listed.
TOWARD = {
    "livep__d10.mp4": (30, 66, 325),
    "livep__d11.mp4": (6, 99),
    "livep__d12.mp4": (105, 132, 138),
    "livep__d14.mp4": (0, 32),
    "pcavs__00473.mp4": (34, 146, 156),
    "retalk__1.mp4": (32, 100, 109),
    "retalk__2.mp4": (0, 81, 103),
    "sad__RD_Radio2_000.mp4": (89, 163, 182),
    "lipnet__lbbc2a.mpg": (23, 28, 54),
    "latent__demo1_video.mp4": (100, 165, 210),
}
AWAY = {
    "livep__d10.mp4": (64, 85, 371),
    "livep__d11.mp4": (145,),
    "livep__d12.mp4": (174,),
    "livep__d14.mp4": (181, 184, 419, 435),
    "pcavs__00086.mp4": (29, 39, 69),
    "pcavs__620900105.mp4": (1, 14, 60),
    "pcavs__796100172.mp4": (8, 21, 147),
    "pcavs__517600055.mp4": (13, 19, 33),
    "pcavs__00015.mp4": (57, 112, 152),
}

ByPerson = dict[str, list[float]]


def look_of(image: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Yaw and pitch (2,) of the eyes and of the head of one picture; None without a face or with closed eyes."""
    media = media_of([image], 25.0)
    mesh = timeline_of(landmarks.compute, media, {"faces": timeline_of(faces.compute, media)})
    try:
        row = gaze.compute(media, {"landmarks": mesh}).row
    except NotApplicable:
        return None
    head = head_pose.compute(media, {"landmarks": mesh}).row
    return np.array([row["yaw_deg"], row["pitch_deg"]]), np.array([head["yaw_deg"], head["pitch_deg"]])


def off_axis_deg(yaw_pitch: np.ndarray) -> float:
    """Angle between a direction and the camera's axis."""
    yaw, pitch = np.radians(yaw_pitch)
    return float(np.degrees(np.arccos(np.clip(np.cos(yaw) * np.cos(pitch), -1, 1))))


def sorted_pairs(path: Path) -> tuple[list[tuple[float, bool]], list[tuple[float, bool]]]:
    """(minus the angle from the camera, looks into it) of the listed frames: of the eyes, and of the head."""
    wanted = dict.fromkeys(TOWARD.get(path.name, ()), True) | dict.fromkeys(AWAY.get(path.name, ()), False)
    if not wanted:
        return [], []
    frames = read_frames(path, 25.0, max_s=max(wanted) / 25 + 0.1)[0]
    eyes, heads = [], []
    for frame, toward in wanted.items():
        look = look_of(frames[min(frame, len(frames) - 1)])
        if look is not None:
            eyes.append((-off_axis_deg(look[0]), toward))
            heads.append((-off_axis_deg(look[1]), toward))
    return eyes, heads


def run(root: Path) -> list[Row]:
    rng = np.random.default_rng(1)
    rendered: tuple[ByPerson, ByPerson] = ({}, {})
    by_head: list[np.ndarray] = []
    mirror: ByPerson = {}
    yaws: list[float] = []
    people_eyes: dict[str, list[tuple[float, bool]]] = {}
    all_heads: list[tuple[float, bool]] = []
    for entry in manifest(root, "talk"):
        person = entry["person"]
        eyes, heads = sorted_pairs(entry["path"])
        people_eyes.setdefault(person, []).extend(eyes)
        all_heads += heads
        images = read_frames(entry["path"], 1.0, max_s=SECONDS)[0]
        for image in images[::2]:
            look, mirrored = look_of(image), look_of(np.ascontiguousarray(image[:, ::-1]))
            if look is not None and mirrored is not None:
                mirror.setdefault(person, []).append(abs(float(look[0][0] + mirrored[0][0])))
                yaws.append(abs(float(look[0][0])))
        skin = skin_of(images)
        for _ in range(RENDERED_PER_PERSON if skin is not None else 0):
            assert skin is not None
            head = rng.uniform(-1, 1, 3) * HEAD_DEG
            truth = head[:2] + rng.uniform(-1, 1, 2) * EYES_DEG
            look = look_of(render(skin, shape_of(rng), (head[0], head[1], head[2]), (truth[0], truth[1])))
            for axis, values in enumerate(rendered):
                error = 90.0 if look is None else abs(float(look[0][axis] - truth[axis]))
                values.setdefault(person, []).append(error)
            by_head.append(np.abs(head[:2] - truth))
    head_error = np.mean(by_head, axis=0)
    claims: tuple[tuple[Any, ...], ...] = (
        (
            "who looks into the camera, sorted by eye",
            "AUC of the angle from the camera by frame",
            people_eyes,
            auc_of_pairs,
            0.95,
            "higher",
            auc_of_pairs(all_heads),
            "head pose alone",
        ),
        (
            "yaw of rendered eyes",
            "MAE, degrees",
            rendered[0],
            np.mean,
            6.0,
            "lower",
            float(head_error[0]),
            "the head's yaw",
        ),
        (
            "pitch of rendered eyes",
            "MAE, degrees",
            rendered[1],
            np.mean,
            6.0,
            "lower",
            float(head_error[1]),
            "the head's pitch",
        ),
        (
            "a mirrored picture looks the other way",
            "mean difference of yaw, degrees",
            mirror,
            np.mean,
            3.0,
            "lower",
            2 * float(np.mean(yaws)),
            "the same yaw",
        ),
    )
    rows = []
    for claim, measure, values, statistic, goal, better, baseline, baseline_name in claims:
        value, low, high = bootstrap_ci(values, statistic)
        n, people = sum(len(v) for v in values.values()), len([v for v in values.values() if v])
        rows.append(Row("gaze", claim, measure, value, low, high, n, people, baseline, goal, better, baseline_name))
    return rows


if __name__ == "__main__":
    command(run)
