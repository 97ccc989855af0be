"""The Python interface: a workspace, and its tiers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl

    from modeling.data import ClipLoader
    from store.workspace import Workspace


class Corpus:
    """One workspace, from Python. Made by `headroom.open`."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace

    def __repr__(self) -> str:
        return f"Corpus({str(self.workspace.settings.workspace)!r})"

    def curate(
        self,
        *paths: str | Path,
        tier: str | None = None,
        signals: Sequence[str] | None = None,
        runner: str = "threads",
        budget_s: float | None = None,
        verify: bool = False,
        readmit: bool = False,
        retry: bool = False,
        on_progress: Callable[[Any], None] | None = None,
    ) -> dict[str, Any]:
        """Ingests what is new under the paths and brings everything up to date; gives the summary of `curate --json`.

        `tier` restricts the work to what decides that tier: cheap signals first, and a costly one only for clips that
        the cheap ones leave in. `signals` restricts it to these and what they need; it is how those on request are
        asked for. What was erased stays out unless `readmit`; what was set aside, since it ended the process that
        computed it, is left alone unless `retry`. Raises ValueError for a path that isn't there, and for an
        unknown signal.
        """
        from flows.curate import run_curate

        return run_curate(
            self.workspace.settings.workspace,
            paths=[str(p) for p in paths],
            tiers=[tier] if tier else [],
            signals=signals,
            runner=runner,
            budget_s=budget_s,
            verify=verify,
            readmit=readmit,
            retry=retry,
            on_progress=on_progress,
        )

    def plan(self, *paths: str | Path, tier: str | None = None, signals: Sequence[str] | None = None) -> dict[str, Any]:
        """What `curate` with these arguments would compute and skip, and why: the object of `curate --plan --json`."""
        from tasks.outlook import outlook

        tiers = [tier] if tier else []
        return outlook(self.workspace, paths=[str(p) for p in paths], tiers=tiers, signals=signals)

    def adopt(self, table: str | Path, name: str | None = None, *, dry_run: bool = False) -> dict[str, Any]:
        """Takes in a Parquet table of clips and scores as one signal: the object of `adopt --json`.

        Raises ValueError, and writes nothing, for a table that can't be meant.
        """
        from tasks.adopt import adopt

        return {**adopt(self.workspace, Path(table), name, dry_run=dry_run).to_dict(), "adopted": not dry_run}

    def forget(self, name: str, *, dry_run: bool = False, on_step: Callable[[str], None] = lambda step: None) -> Any:
        """Erases a video (id, path or file name, also without its ending) or an identity (id): the object of `forget --json`.

        `dry_run` gives what would go and changes nothing. Raises ValueError when the name is nobody's, or several's.
        """
        from tasks import forget

        if dry_run:
            return forget.told_of(forget.plan(self.workspace, name), self.workspace)
        return forget.forget(self.workspace, name, on_step)

    def sql(self, query: str, *, candidates: Sequence[str] = ()) -> pl.DataFrame:
        """A guarded, read-only query over the views; of the signals in `candidates` it sees the rows of the version that
        is rolling out. Raises ValueError for a query that is not allowed, and for a signal without a candidate."""
        from tasks import tier as tiers

        return tiers.query(self.workspace, query, candidates)

    def tier(self, name: str) -> Tier:
        """A tier by name. Raises ValueError for an unknown one."""
        from tasks import tier as tiers

        tiers.parsed(self.workspace, name)
        return Tier(self.workspace, name)

    def tiers(self) -> list[str]:
        from tasks import tier as tiers

        return sorted(tiers.sources(self.workspace))

    def status(self) -> dict[str, Any]:
        """Videos by state, clips, signals by freshness, tiers: the object of `status --json`."""
        from tasks.status import status

        return status(self.workspace)


class Tier:
    """A tier of a workspace, live or frozen."""

    def __init__(self, workspace: Workspace, name: str) -> None:
        self.workspace = workspace
        self.name = name

    def __repr__(self) -> str:
        return f"Tier({self.name!r}, {str(self.workspace.settings.workspace)!r})"

    def build(self, targets: str | Path | None = None) -> dict[str, Any]:
        """Freezes a snapshot: {"tier", "snapshot", "clips", "sha256", "path"}. The same data give the same id.

        With a file of `targets` each clip gets a weight, which `to_torch(snapshot=...)` draws by, and "margins" tells
        what share each category has now. Raises ValueError for a file that can't be meant.
        """
        from tasks import freeze
        from tasks.balance import read_targets

        return freeze.build(self.workspace, self.name, read_targets(Path(targets)) if targets else None)

    def to_polars(self) -> pl.DataFrame:
        """One row per clip now in the tier: the columns of `clips`, then those of `signals`."""
        from tasks import tier as tiers

        return tiers.members(self.workspace, self.name)

    def to_torch(
        self,
        *,
        snapshot: str | None = None,
        batch_size: int = 8,
        num_workers: int = 0,
        shuffle: bool = True,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        **ranges: Any,
    ) -> ClipLoader:
        """Batches of clip ranges of a snapshot: of the one named, else of the tier as it is frozen now, without weights.

        `ranges` are the fields of modeling.data.ClipRanges: length_s, hop_s, fps, size, pad, frames, audio, timelines.
        """
        from modeling.data import ClipDataset, ClipLoader, ClipRanges
        from store.frozen import frozen

        held = frozen(self.workspace, snapshot or str(self.build()["snapshot"]))
        if held.tier != self.name:
            raise ValueError(f"snapshot {held.snapshot_id} is of tier {held.tier}, not of {self.name}")
        return ClipLoader(
            ClipDataset(held, ClipRanges(**ranges)),
            batch_size=batch_size,
            num_workers=num_workers,
            shuffle=shuffle,
            seed=seed,
            rank=rank,
            world_size=world_size,
        )

    def clips(self) -> list[str]:
        """Ids of the clips now in the tier, sorted."""
        return sorted(self.to_polars()["clip_id"].to_list())

    def explain(self, clip_id: str) -> list[dict[str, Any]]:
        """Each clause with the clip's value and verdict."""
        from tasks import tier as tiers

        return tiers.explain(self.workspace, clip_id, self.name)

    def funnel(self) -> list[dict[str, Any]]:
        """Each clause with how many clips it removes alone and after those before it."""
        from tasks import tier as tiers

        return tiers.funnel(self.workspace, self.name)


def existing(workspace: Path | None, *, completing: bool = True) -> Corpus:
    """The workspace for a command that only reads; with `completing`, as `open` does. Raises ValueError where there is none."""
    from infra import settings
    from store.workspace import is_workspace

    told = settings.load(workspace)
    root = told.workspace
    if not is_workspace(told):
        raise ValueError(f"there is no workspace at {root}; headroom curate PATH makes one, --workspace names another")
    return open(workspace, completing=completing)


def open(workspace: str | Path | None = None, *, completing: bool = True) -> Corpus:
    """The workspace at a folder (else HEADROOM_WORKSPACE, else ./workspace); made on first use.

    An erasure that was cut off is completed first, unless `forget` is about to take it up by its name.
    """
    from store.workspace import open_workspace

    opened = open_workspace(workspace)
    if completing and opened.ledger.is_erasing():
        from tasks.forget import resume

        resume(opened)
    return Corpus(opened)
