"""Runs data-juicer's operators over files; started by benchmarks/peers.py in data-juicer's own environment.

    python peer_operators.py FILE...      one JSON object on standard output

The operators are called directly, each over all files, after one file has warmed everything up.
"""

from __future__ import annotations

import importlib
import json
import resource
import sys
import tempfile
from typing import Any

OPERATORS: dict[str, tuple[str, dict[str, Any]]] = {
    "duration": ("filter.video_duration_filter.VideoDurationFilter", {"video_backend": "av"}),
    "resolution": ("filter.video_resolution_filter.VideoResolutionFilter", {}),
    "aspect_ratio": ("filter.video_aspect_ratio_filter.VideoAspectRatioFilter", {}),
    "motion": ("filter.video_motion_score_filter.VideoMotionScoreFilter", {"sampling_fps": 2, "size": 256}),
    "scenes": ("mapper.video_split_by_scene_mapper.VideoSplitBySceneMapper", {"detector": "ContentDetector"}),
}


def cpu_s() -> float:
    """Processor time of this process and of its children that have ended."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(u.ru_utime + u.ru_stime for u in used)


def values_of(operator: Any, path: str) -> dict[str, float]:
    sample: dict[str, Any] = {"videos": [path], "__dj__stats__": {}, "__dj__meta__": {}}
    if hasattr(operator, "compute_stats_single"):
        told = operator.compute_stats_single(sample)["__dj__stats__"]
        return {name: float(values[0]) for name, values in told.items()}
    return {"num_scenes": float(len(operator.process_single(sample)["videos"]))}


def main(paths: list[str]) -> None:
    cv2 = importlib.import_module("cv2")
    cv2.setNumThreads(1)
    told: dict[str, Any] = {"cpu_s": {}, "values": [{} for _ in paths]}
    with tempfile.TemporaryDirectory() as folder:
        for name, (place, options) in OPERATORS.items():
            module, kind = f"data_juicer.ops.{place}".rsplit(".", 1)
            more = {"save_dir": folder} if name == "scenes" else {}
            operator = getattr(importlib.import_module(module), kind)(**options, **more)
            values_of(operator, paths[0])
            began = cpu_s()
            for path, values in zip(paths, told["values"], strict=True):
                values.update(values_of(operator, path))
            told["cpu_s"][name] = cpu_s() - began
    print(json.dumps(told))


if __name__ == "__main__":
    main(sys.argv[1:])
