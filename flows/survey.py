"""`survey`: a sample of a source, curated in a workspace of its own that is gone afterwards."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flows.curate import run_curate
from flows.server import environ
from store.objects import local_path
from store.workspace import Workspace, open_workspace
from tasks import survey

ELSEWHERE = ("HEADROOM_LEDGER_URL", "HEADROOM_OBJECTS_URL", "PREFECT_API_URL")
"""What would put rows, media or flow runs of the sample beside those of the user."""


@contextmanager
def surveyed(
    source: str,
    num: int,
    *,
    seed: int = 0,
    tiers: Path | None = None,
    on_progress: Callable[[Any], None] | None = None,
) -> Iterator[tuple[Workspace, dict[str, Any]]]:
    """The curated sample, which lasts as long as the block, and what it tells of the whole source.

    `tiers` is a folder of SQL files that are judged beside the shipped ones. Raises ValueError for a source without
    video, and a sample of less than 1.
    """
    if num < 1:
        raise ValueError(f"sample of {num}: give 1 or more files")
    found = survey.sources(source)
    sample = survey.sampled(found, num, seed)
    with tempfile.TemporaryDirectory(prefix="headroom-survey-") as folder, environ(dict.fromkeys(ELSEWHERE, "")):
        root = Path(folder) / "workspace"
        workspace = open_workspace(root)
        for file in sorted(tiers.glob("*.sql")) if tiers else []:
            (root / "tiers").mkdir(exist_ok=True)
            (root / "tiers" / file.name).write_bytes(file.read_bytes())
        paths = [s.uri if s.uri.startswith("s3://") else str(local_path(s.uri)) for s in sample]
        run_curate(root, paths=paths, on_progress=on_progress)
        yield workspace, survey.forecast(workspace, found, sample, seed=seed)
