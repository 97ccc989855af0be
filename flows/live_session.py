"""A live session of a running server, written to a file: what a viewer gets who lets somebody speak and watches."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np

from flows.deploy_probe import SAMPLE_HZ, Seen, figures, offered, watched
from store.deployments import Server

BEFORE_S, AFTER_S = 1.0, 2.5
"""Silence around the speech, in which the mouth is seen to rest."""


def record(server: Server, sound: np.ndarray, out: Path, avatar: str | None = None) -> dict[str, Any]:
    """Says `sound` (int16, 16 kHz) with silence around it; writes what came back as an MP4, whole or not at all.

    `avatar` is whom to show if the server offers it, else its first one is shown. Gives "path", "checkpoint" (the one that
    the session was given), "avatar", and the figures of flows/deploy_probe.py. Raises ProbeError when the server
    does not say all of it.
    """
    there = offered(server)
    shown = avatar if avatar in there else there[0]
    before, after = (np.zeros(round(s * SAMPLE_HZ), np.int16) for s in (BEFORE_S, AFTER_S))
    whole = np.concatenate([before, sound, after])
    seen = watched(server, {"avatar": shown}, {}, whole)
    _write(seen, out)
    return {"path": str(out), "checkpoint": seen.checkpoint, "avatar": shown, **figures(seen, whole)}


def _write(seen: Seen, out: Path) -> None:
    """The fragments as one file that every player can wind through; nothing is coded anew."""
    import av

    part = out.with_name(f".{out.stem}.part.mp4")
    part.parent.mkdir(parents=True, exist_ok=True)
    came: Any = av.open(io.BytesIO(bytes(seen.data)))
    with came, av.open(str(part), "w", options={"movflags": "faststart"}) as made:
        streams = {s.index: made.add_stream_from_template(s) for s in came.streams}
        for packet in came.demux():
            if packet.dts is not None:
                packet.stream = streams[packet.stream.index]
                made.mux(packet)
    part.replace(out)
