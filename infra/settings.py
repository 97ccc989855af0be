"""Settings of one machine, read once from the environment; a workspace's own settings lie in its ledger."""

from __future__ import annotations

import os
from dataclasses import dataclass
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


def load(workspace: str | Path | None = None) -> Settings:
    """Settings for a workspace: the argument, else HEADROOM_WORKSPACE, else ./workspace."""
    root = Path(workspace or os.environ.get("HEADROOM_WORKSPACE") or "workspace").absolute()
    return Settings(
        workspace=root,
        ledger_url=os.environ.get("HEADROOM_LEDGER_URL") or f"sqlite:///{root / 'ledger.sqlite'}",
        objects_url=os.environ.get("HEADROOM_OBJECTS_URL") or str(root),
        default_licence=os.environ.get("HEADROOM_DEFAULT_LICENCE", "unknown"),
        default_consent=os.environ.get("HEADROOM_DEFAULT_CONSENT", "unknown"),
    )
