"""Settings of one machine, read once from the environment; a workspace's own settings lie in its ledger."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Settings:
    """Where a workspace lives. Everything has a default; a URL moves a part elsewhere."""

    workspace: Path
    ledger_url: str
    """SQLAlchemy URL; default SQLite inside the workspace."""
    objects_url: str
    """Folder or s3://bucket/prefix for Lance tables, proxies and reports; default the workspace itself."""
    default_licence: str = "unknown"
    default_consent: str = "unknown"
    backends: str = ""
    """HEADROOM_BACKENDS as it was read: a worker elsewhere must compute signals by the same backends."""
    motion_runtime: str = "auto"
    """What runs the motion network of a live session: torch, onnx for the graph that `headroom export-model` made, or auto: the
    graph where there is one, else torch. All in float32."""
    renderer_runtime: str = ""
    """What runs the renderer of a live session, and where: modeling/renderer_runtime.py; by default its graph on the CPU."""
    ice_servers: str = ""
    """By which viewers by WebRTC reach a live server behind NAT, and what lets them in: serving/ice.py."""
    turn_user: str = ""
    turn_password: str = field(default="", repr=False)
    turn_secret: str = field(default="", repr=False)


def load(workspace: str | Path | None = None) -> Settings:
    """Settings for a workspace: the argument, else HEADROOM_WORKSPACE, else ./workspace."""
    root = Path(workspace or os.environ.get("HEADROOM_WORKSPACE") or "workspace").absolute()
    return Settings(
        workspace=root,
        ledger_url=os.environ.get("HEADROOM_LEDGER_URL") or f"sqlite:///{root / 'ledger.sqlite'}",
        objects_url=os.environ.get("HEADROOM_OBJECTS_URL") or str(root),
        default_licence=os.environ.get("HEADROOM_DEFAULT_LICENCE", "unknown"),
        default_consent=os.environ.get("HEADROOM_DEFAULT_CONSENT", "unknown"),
        backends=os.environ.get("HEADROOM_BACKENDS", ""),
        motion_runtime=os.environ.get("HEADROOM_MOTION_RUNTIME") or "auto",
        renderer_runtime=os.environ.get("HEADROOM_RENDERER_RUNTIME", ""),
        ice_servers=os.environ.get("HEADROOM_ICE_SERVERS", ""),
        turn_user=os.environ.get("HEADROOM_TURN_USER", ""),
        turn_password=os.environ.get("HEADROOM_TURN_PASSWORD", ""),
        turn_secret=os.environ.get("HEADROOM_TURN_SECRET", ""),
    )


def backends() -> dict[str, str]:
    """Backend by signal, of HEADROOM_BACKENDS="speech=whisper?dtype=float16 visual_quality=q_align".

    Raises ValueError for a part that is no NAME=BACKEND, and for a signal named twice.
    """
    found: dict[str, str] = {}
    for part in os.environ.get("HEADROOM_BACKENDS", "").split():
        signal, equals, backend = part.partition("=")
        if not (signal and equals and backend):
            raise ValueError(f"HEADROOM_BACKENDS: {part!r} is no SIGNAL=BACKEND")
        if signal in found:
            raise ValueError(f"HEADROOM_BACKENDS: names signal {signal!r} twice")
        found[signal] = backend
    return found
