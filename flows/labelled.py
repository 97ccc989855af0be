"""What trainings from people's labels share: the tier of the clips they looked at, who may not be split, the data card."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from store.frozen import Frozen, frozen
from store.workspace import Reader, Workspace
from tasks import freeze
from tasks import tier as tiers


def frozen_labels(workspace: Workspace, name: str, sql: str, *, tier: str | None, snapshot: str | None) -> Frozen:
    """A snapshot, or a tier frozen now; without either the tier `name`, which is written beside the workspace's own first."""
    if tier and snapshot:
        raise ValueError("train: give a tier, which is frozen now, or a snapshot; one of them")
    if not (tier or snapshot) and name not in tiers.sources(workspace):
        file = workspace.settings.workspace / "tiers" / f"{name}.sql"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(sql)
    return frozen(workspace, snapshot or str(freeze.build(workspace, tier or name)["snapshot"]))


def groups_of(videos: Sequence[str], people: Sequence[str | None]) -> list[str]:
    """By clip, the first by name of all people and videos that it is linked to: what no fold may split."""
    first: dict[str, str] = {}

    def head(name: str) -> str:
        while first.setdefault(name, name) != name:
            name = first[name]
        return name

    for video, who in zip(videos, people, strict=True):
        a, b = head(f"video {video}"), head(f"person {who}" if who else f"video {video}")
        first[max(a, b)] = min(a, b)
    return [head(f"video {video}") for video in videos]


def refuse_few(
    what: str, parts: Iterable[tuple[str, np.ndarray]], groups: Sequence[str], least: tuple[int, int]
) -> None:
    """Raises ValueError, with counts, unless each part (a mask over clips) has `least` clips and groups."""
    counts = [(told, int(mask.sum()), len({g for g, m in zip(groups, mask, strict=True) if m})) for told, mask in parts]
    if any(n < least[0] or of < least[1] for _, n, of in counts):
        said = " and ".join(f"{n} clips of {of} people or videos are {told}" for told, n, of in counts)
        raise ValueError(f"{what}: {said}; it takes {least[0]} clips of {least[1]}; label more with headroom annotate")


def licences(reader: Reader, clip_ids: Sequence[str]) -> dict[str, int]:
    """Clips by licence and consent."""
    rights = dict(
        reader.sql(
            "SELECT clip_id, coalesce(licence, 'unknown') || ', consent ' || coalesce(consent, 'unknown') "
            "FROM clips LEFT JOIN rights USING (video_id)"
        ).iter_rows()
    )
    told: dict[str, int] = {}
    for clip in clip_ids:
        told[rights[clip]] = told.get(rights[clip], 0) + 1
    return dict(sorted(told.items()))
