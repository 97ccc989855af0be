"""`headroom tier`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from headroom.corpus import existing
from headroom.options import JsonOption, WorkspaceOption, group

app = group("tier", "Tiers: SQL over signals that selects clips.")


@app.command("list")
def tier_list(workspace: WorkspaceOption = None, as_json: JsonOption = False) -> None:
    """Tiers by name, their clips now, their latest snapshots."""
    from dashboards import terminal, tiers_shown
    from tasks import tier as tiers

    terminal.show({"tiers": tiers.listed(existing(workspace).workspace)}, tiers_shown.tiers, as_json)


@app.command("show")
def tier_show(name: str, workspace: WorkspaceOption = None, as_json: JsonOption = False) -> None:
    """A tier's SQL, and its clauses after other tiers are inlined."""
    from dashboards import terminal, tiers_shown
    from tasks import tier as tiers

    terminal.show(tiers.shown(existing(workspace).workspace, name), tiers_shown.tier_shown, as_json)


@app.command("build")
def tier_build(name: str, workspace: WorkspaceOption = None, as_json: JsonOption = False) -> None:
    """Freeze a snapshot of a tier."""
    from dashboards import terminal, tiers_shown

    terminal.show(existing(workspace).tier(name).build(), tiers_shown.built, as_json)


@app.command("balance")
def tier_balance(
    name: str,
    targets: Annotated[
        Path, typer.Argument(metavar="TARGETS.toml", help="Categories, and the shares they should have.")
    ],
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Freeze a snapshot of a tier with a weight for each clip, so that categories have the shares that a file says."""
    from dashboards import balance, terminal

    terminal.show(existing(workspace).tier(name).build(targets), balance.balanced, as_json)


@app.command("diff")
def tier_diff(
    first: Annotated[str, typer.Argument(help="A snapshot's id; or a tier, for its latest two.")],
    second: Annotated[str | None, typer.Argument(help="A later snapshot's id.")] = None,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Which clips came and went between two snapshots, and which clause decided."""
    from dashboards import terminal, tiers_shown
    from tasks import freeze

    terminal.show(freeze.diff(existing(workspace).workspace, first, second), tiers_shown.diffed, as_json)


@app.command("explain")
def tier_explain(
    clip: Annotated[str, typer.Argument(help="A clip's id (6 characters are enough).")],
    tier: Annotated[str | None, typer.Option(help="One tier; else all.")] = None,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Each clause of each tier with the clip's value and verdict."""
    from dashboards import terminal, tiers_shown
    from tasks import tier as tiers
    from tasks.trace import clip_named

    corpus = existing(workspace)
    clip = clip_named(corpus.workspace, clip)
    names = [tier] if tier else corpus.tiers()
    verdicts = {n: tiers.explain(corpus.workspace, clip, n) for n in names}
    told = {"clip": clip, "tiers": dict(sorted(verdicts.items(), key=lambda item: len(item[1])))}
    terminal.show(told, tiers_shown.explained, as_json)


@app.command("funnel")
def tier_funnel(name: str, workspace: WorkspaceOption = None, as_json: JsonOption = False) -> None:
    """How many clips each clause removes, alone and after those before it."""
    from dashboards import terminal, tiers_shown

    terminal.show({"tier": name, "clauses": existing(workspace).tier(name).funnel()}, tiers_shown.funnel, as_json)
