"""A corpus of drawn heads that speak: timelines as they are stored, sound, and who is who; some clips can't be learnt from."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import soundfile

from store.record import Batch, table_of
from store.schema import CLIPPING, CLIPS, IDENTITIES, RIGHTS, SIGNALS_BASE, TIMELINES, VIDEOS
from store.workspace import Workspace
from tasks.digest import pack
from tests.face_meshes import landmarks_of, turned_face
from tests.unit.modeling.conftest import HEIGHT, WIDTH, make_proxy
from tests.unit.modeling.spoken_motion import made_clip

NUM_FRAMES = 100
PEOPLE = {"va": "ann", "vb": "ben", "vc": "cho", "vd": "ann"}
"""By video; the clip of `vx` is `cx`. `ve` has no sound and `vf` no mesh."""
_LIPS, _CHIN = (14, 87, 317, 146, 91, 181, 84, 17, 314, 405, 321, 375), 152


def fill_spoken(workspace: Workspace) -> None:
    rows: dict[str, list[dict[str, Any]]] = {
        n: [] for n in ("videos", "clips", "clipping", "timelines", "rights", "people")
    }
    for number, video in enumerate((*PEOPLE, "ve", "vf")):
        _video(workspace, rows, video, number)
    batch = Batch()
    for table, schema in (
        ("videos", VIDEOS),
        ("clips", CLIPS),
        ("clipping", CLIPPING),
        ("timelines", TIMELINES),
        ("rights", RIGHTS),
    ):
        batch.add(table, table_of(rows[table], schema))
    active = [{k: row[k] for k in ("clip_id", "video_id", "active")} for row in rows["clips"]]
    batch.add("signals", table_of(active, SIGNALS_BASE))
    batch.add("identities", table_of(rows["people"], IDENTITIES))
    workspace.commit(batch, clipping_run="r")
    folder = workspace.settings.workspace / "tiers"
    folder.mkdir(exist_ok=True)
    (folder / "spoken.sql").write_text("SELECT clip_id FROM clips WHERE duration_s >= 2")


def _video(workspace: Workspace, rows: dict[str, list[dict[str, Any]]], video: str, number: int) -> None:
    clip, spoken = f"c{video[1]}", made_clip(video, video, NUM_FRAMES / 25, seed=number)
    folder = workspace.settings.workspace / "media" / video
    proxy = make_proxy(folder, "va")
    soundfile.write(folder / "audio.flac", spoken.sound, 16_000, subtype="PCM_24")
    audio = None if video == "ve" else str(folder / "audio.flac")
    size = {"width_px": WIDTH, "height_px": HEIGHT, "num_frames": NUM_FRAMES, "state": "done"}
    rows["videos"].append(
        {"video_id": video, "name": f"{video}.mp4", "proxy_uri": str(proxy), "audio_uri": audio, **size}
    )
    span = {"video_id": video, "clip_id": clip, "start_frame": 0, "end_frame": NUM_FRAMES}
    rows["clips"].append({**span, "duration_s": NUM_FRAMES / 25, "active": True})
    rows["clipping"].append({"key": f"r:{clip}", "run": "r", **span})
    rows["rights"].append({"video_id": video, "licence": "CC-BY-4.0", "consent": "yes", "origin": "drawn"})
    if video in PEOPLE:
        rows["people"].append({"clip_id": clip, "video_id": video, "identity": PEOPLE[video]})
    for name, table in _lines(spoken.motion.values[:, 0], spoken.speech).items():
        if video == "vf" and name == "landmarks":
            continue
        whole = name in ("landmarks", "vad")
        key = f"{video}:{name}:0" if whole else f"{clip}:{name}"
        told = {**span, "clip_id": None if whole else clip, "grain": "video" if whole else "clip", "window_index": 0}
        rows["timelines"].append(
            {**told, "key": key, "name": name, "status": "ok", "fingerprint": f"f-{name}", "payload": pack(table)}
        )


def _lines(opening_T: np.ndarray, speech_T: np.ndarray) -> dict[str, pa.Table]:
    faces = []
    for opening in opening_T:
        points = turned_face(scale=0.3, center_px=(48, 32))
        points[list(_LIPS), 1] += 3 * opening
        points[_CHIN, 1] += 3 * opening
        faces.append(points)
    frame = pa.array(range(len(faces)), pa.int32())
    zero = pa.array(np.zeros(len(faces)), pa.float32())
    lids = pa.array(np.full(len(faces), 0.3), pa.float32())
    return {
        "landmarks": landmarks_of(faces),
        "head_pose": pa.table({"frame": frame, "yaw_deg": zero, "pitch_deg": zero, "roll_deg": zero}),
        "gaze": pa.table({"frame": frame, "opening_right": lids, "opening_left": lids}),
        "vad": pa.table({"frame": frame, "speech_prob": pa.array(speech_T, pa.float32())}),
    }
