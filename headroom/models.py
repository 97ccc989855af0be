"""Commands that train, judge, serve and deploy models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from headroom.corpus import existing
from headroom.options import JsonOption, WorkspaceOption, group, seconds_of, share_of

app = group()


@app.command()
def train(
    recipe: Annotated[
        str,
        typer.Argument(
            help="audio_to_motion, audio_to_motion_transformer, ..., renderer, identity, detector, visual_quality, or rated_quality."
        ),
    ],
    tier: Annotated[
        str | None,
        typer.Option(
            help="The tier to freeze and learn from; for what learns from labels, if none, what people looked at or rated."
        ),
    ] = None,
    snapshot: Annotated[str | None, typer.Option(help="A snapshot to learn from instead.")] = None,
    curriculum: Annotated[
        Path | None, typer.Option(metavar="FILE.toml", help="Stages instead: tiers to walk through, in order.")
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(metavar="CHECKPOINT", help="Of a renderer: go on from this one, as with a minute of one person."),
    ] = None,
    flag: Annotated[str | None, typer.Option(help="Of a detector: the kind of bad case, as teeth.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="A value of the recipe, as num_steps=3000; may be repeated.")
    ] = None,
    device: Annotated[
        str, typer.Option(help="cpu, cuda, or auto: cuda where there is one; of audio_to_motion and renderer.")
    ] = "auto",
    processes: Annotated[
        int, typer.Option(min=1, help="Processes that share the work (FSDP2), a GPU each on cuda; of the same.")
    ] = 1,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train a recipe on a tier and publish the checkpoint; run it again to go on with one that was cut off.

    `detector --flag KIND` learns from the clips that annotators flagged, and scores every clip. `visual_quality` brings the
    signal's grades to those that annotators gave, as a version that is chosen by the setting it prints. `rated_quality` learns
    what they rate in each dimension from what is stored of the clips, as a signal of its own, by such a setting, too.
    `renderer` learns what the warp of one picture lacks in the lower face; `--start` makes it one person's own. `identity` learns
    to tell a person's rest and scale from one picture.
    """
    from dashboards import labels_trained, motion_trained, renderer_trained, terminal
    from flows.detector import run_detector
    from flows.rated_quality import run_rated_quality
    from flows.ratings import run_ratings
    from flows.train import run_train

    changed = {name: value for name, _, value in (pair.partition("=") for pair in settings or [])}
    if (recipe == "detector") != (flag is not None):
        raise ValueError(
            "train: a detector needs --flag KIND, as in headroom train detector --flag teeth; no other recipe has it"
        )
    draws = recipe.startswith("renderer")
    of_labels = recipe in ("detector", "visual_quality", "rated_quality")
    at_once = of_labels or recipe == "identity"
    if start is not None and not draws:
        raise ValueError("train: --start is of a renderer; no other recipe goes on from a checkpoint")
    if curriculum is not None and (draws or at_once):
        raise ValueError(f"train: {recipe} has no stages; give --tier, --snapshot, or neither")
    if at_once and (device != "auto" or processes > 1):
        raise ValueError(f"train: {recipe} is trained on the CPU; leave --device and --processes out")
    root = existing(workspace).workspace.settings.workspace
    if flag is not None:
        made = run_detector(root, flag, tier=tier, snapshot=snapshot, changed=changed)
        terminal.show(made, labels_trained.detected, as_json)
        return
    if recipe == "visual_quality":
        made = run_ratings(root, tier=tier, snapshot=snapshot, changed=changed)
        terminal.show(made, labels_trained.calibrated, as_json)
        return
    if recipe == "rated_quality":
        made = run_rated_quality(root, tier=tier, snapshot=snapshot, changed=changed)
        terminal.show(made, labels_trained.rated, as_json)
        return
    if recipe == "identity":
        from flows.identity import run_identity

        made = run_identity(root, tier=tier, snapshot=snapshot, changed=changed)
        terminal.show(made, motion_trained.identified, as_json)
        return
    if draws:
        from flows.renderer import run_renderer

        with motion_trained.training(quiet=as_json) as on_step:
            made = run_renderer(
                root, recipe, tier=tier, snapshot=snapshot, start=start, changed=changed,
                device=device, processes=processes, on_step=on_step,
            )  # fmt: skip
        terminal.show(made, renderer_trained.trained, as_json)
        return
    with motion_trained.training(quiet=as_json) as on_step:
        told = run_train(
            root, recipe, tier=tier, snapshot=snapshot, curriculum=curriculum, changed=changed,
            device=device, processes=processes, on_step=on_step,
        )  # fmt: skip
    terminal.show(told, motion_trained.trained, as_json)


@app.command()
def evaluate(
    checkpoint: Annotated[str, typer.Argument(help="A checkpoint's id (6 characters are enough), or a recipe.")],
    snapshot: Annotated[str | None, typer.Option(help="A snapshot or tier; else the one it was trained on.")] = None,
    measures: Annotated[
        list[str] | None,
        typer.Option(
            "--with",
            metavar="NAME=WEIGHTS",
            help="Of a renderer, a measure whose weights you bring: lpips=FOLDER, fvd=MODEL or lse=FILE; may be repeated.",
        ),
    ] = None,
    videos: Annotated[
        int, typer.Option(min=0, help="Clips to draw beside their source, and to judge by what is seen; 0 draws none.")
    ] = 12,
    renderer: Annotated[
        str | None,
        typer.Option(
            help="Of motion: what draws the mouth in the videos (default: the deployed renderer); none: the warp alone."
        ),
    ] = None,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Judge a checkpoint on people it never saw, beside the baselines, and draw videos of them beside their source.

    `--with` adds to a renderer's measures LPIPS and temporal LPIPS, FVD, or LSE-D and LSE-C. No weights of these ship with
    Headroom: docs/renderer.md says where they come from and under which licence.
    """
    from dashboards import motion_trained, renderer_trained, terminal
    from flows.evaluation import run_evaluate

    told = run_evaluate(
        existing(workspace).workspace.settings.workspace,
        checkpoint,
        snapshot,
        measures or [],
        videos=videos,
        renderer=renderer,
    )
    drawn = any("plates" in of for of in told.values() if isinstance(of, dict))
    terminal.show(told, renderer_trained.evaluated if drawn else motion_trained.evaluated, as_json)


@app.command("export-model")
def export_model(
    checkpoint: Annotated[str, typer.Argument(help="A checkpoint's id (6 characters are enough), or a recipe.")],
    out: Annotated[
        Path | None, typer.Argument(metavar="FILE.onnx", help="The file to write (default: beside the checkpoint).")
    ] = None,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a checkpoint's network as an ONNX graph of a stream's step, compared with torch before it is written."""
    from dashboards import motion_trained, renderer_trained, terminal
    from flows.export import run_export

    told = run_export(existing(workspace).workspace.settings.workspace, checkpoint, out)
    terminal.show(told, renderer_trained.exported if told["kind"] == "renderer" else motion_trained.exported, as_json)


@app.command()
def motion(
    clip: Annotated[str, typer.Argument(help="A clip's id (6 characters are enough).")],
    out: Annotated[Path, typer.Argument(help="The MP4 to write.")],
    checkpoint: Annotated[str | None, typer.Option(help="Draw what this checkpoint makes of the sound, too.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of its blinks and its head.")] = 0,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a clip with its motion drawn below: what is stored, and what a checkpoint predicts."""
    from dashboards import terminal
    from dashboards.motion_video import write_motion_video
    from flows.train import motion_of_clip
    from tasks.trace import clip_named

    corpus = existing(workspace).workspace
    shown = motion_of_clip(corpus, clip_named(corpus, clip), checkpoint, seed)
    path = write_motion_video(shown.clip, shown.proxy, shown.sound, shown.curves, out)
    terminal.show({"path": str(path)}, lambda told: print(f"motion: {told['path']}"), as_json)  # noqa: T201


@app.command()
def render(
    audio: Annotated[
        Path,
        typer.Argument(help="What is said: a sound file, a video with sound, or a folder of them, said some at once."),
    ],
    out: Annotated[Path, typer.Argument(help="The MP4 to write; of a folder, the folder to write them to.")],
    avatar: Annotated[str, typer.Option(help="Who says it: a clip's id, or the file of a portrait.")],
    checkpoint: Annotated[
        str | None,
        typer.Option(help="What makes motion of sound (default: what is deployed, else the latest audio_to_motion)."),
    ] = None,
    renderer: Annotated[
        str | None,
        typer.Option(help="What draws the mouth (default: the renderer that is deployed); none: the warp alone."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of blinks and the head.")] = 0,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a talking avatar: sound said by a person of a clip or a portrait.

    Of a folder, what was said before stays, and a file that can't be said stops no other.
    """
    from dashboards import motion_trained, terminal
    from serving.render import render as write_avatar
    from serving.render import render_folder

    if audio.is_dir():
        place = existing(workspace).workspace
        all_told = render_folder(place, audio, avatar, out, checkpoint, seed, renderer=renderer)
        terminal.show(all_told, motion_trained.rendered_folder, as_json)
        if all_told["failed"]:
            raise typer.Exit(1)
        return
    told = write_avatar(existing(workspace).workspace, audio, avatar, out, checkpoint, seed, renderer=renderer)
    terminal.show(told, motion_trained.rendered, as_json)


@app.command()
def serve(
    avatar: Annotated[
        list[str] | None,
        typer.Option(help="A clip's id or a portrait's file; may be repeated (default: people of the workspace)."),
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for other machines.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes any free one.")] = 8700,
    sessions: Annotated[
        int | None, typer.Option(min=1, help="Sessions at a time; more are refused (default: the number of cores).")
    ] = None,
    checkpoint: Annotated[
        str | None,
        typer.Option(
            help="Serve this one, whatever is deployed (default: what headroom deploy says, else the latest)."
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            min=0, help="Processes of this machine that draw (default: 2; 0: only workers that join from elsewhere)."
        ),
    ] = None,
    rtmp: Annotated[
        str | None,
        typer.Option(help="Publish each session to a media server: rtmp://HOST/APP/{session}, with its id there."),
    ] = None,
    renderer: Annotated[
        str | None,
        typer.Option(
            help="What draws the mouth, whatever is deployed (default: what headroom deploy says); none: the warp alone."
        ),
    ] = None,
    client_sessions: Annotated[
        int, typer.Option(min=0, help="Sessions at a time of one client's address; 0: no limit but --sessions.")
    ] = 4,
    client_openings: Annotated[
        int, typer.Option(min=0, help="Sessions that one client's address may open in a minute; 0: no limit.")
    ] = 30,
    trusted_proxy: Annotated[
        list[str] | None,
        typer.Option(help="IP or network of a proxy whose X-Forwarded-For is believed; repeatable. Default: none."),
    ] = None,
    workspace: WorkspaceOption = None,
) -> None:
    """Serve live talking avatars on a page, until Ctrl-C."""
    from serving.clients import Share
    from serving.serve import serve as run_serve

    run_serve(
        existing(workspace).workspace, list(avatar or []), host, port, sessions, checkpoint, workers, rtmp, renderer,
        Share(client_sessions, client_openings), trusted_proxy or [],
    )  # fmt: skip


@app.command()
def worker(
    gateway: Annotated[
        str | None, typer.Argument(help="Address of a headroom serve (default: the one that the workspace knows).")
    ] = None,
    sessions: Annotated[
        int | None, typer.Option(min=1, help="Sessions that it has room for (default: the number of cores).")
    ] = None,
    name: Annotated[str | None, typer.Option(help="What it is called (default: machine and process).")] = None,
    checkpoint: Annotated[
        str | None, typer.Option(help="Serve this one, whatever is deployed (default: what is deployed).")
    ] = None,
    renderer: Annotated[
        str | None,
        typer.Option(
            help="What draws the mouth, whatever is deployed (default: what headroom deploy says); none: the warp alone."
        ),
    ] = None,
    workspace: WorkspaceOption = None,
) -> None:
    """Draw sessions of a headroom serve that runs here or elsewhere, until that ends."""
    from serving.join import join

    join(existing(workspace).workspace, gateway, sessions, name, checkpoint, renderer)


@app.command()
def deploy(
    checkpoint: Annotated[
        str | None,
        typer.Argument(help="A checkpoint's id (6 characters are enough), or a recipe; none: show what serves."),
    ] = None,
    canary: Annotated[str, typer.Option(help="Share of the new sessions that it gets first, up to 50%.")] = "10%",
    soak: Annotated[
        str | None,
        typer.Option(
            help="For so long (90s, 10m, 2h) it serves its share of the viewers, and is compared by their sessions too."
        ),
    ] = None,
    rollback: Annotated[
        bool,
        typer.Option(
            "--rollback",
            help="End the deployment that is under way, else go back to the checkpoint before, of the kind deployed last.",
        ),
    ] = False,
    kind: Annotated[
        str | None,
        typer.Option(help="With --rollback, of which kind instead: audio_to_motion or renderer."),
    ] = None,
    avatar: Annotated[
        str | None, typer.Option(help="Whom the probes show when no server runs: a clip's id or a portrait's file.")
    ] = None,
    workspace: WorkspaceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Bring a checkpoint, of motion or a renderer, into service: gates on its evaluation, a canary compared by live probes,
    then all or none. Before the first renderer was the plain warp: that is where its roll-back leads."""
    from dashboards import deployment, terminal
    from flows import deploy as flow

    corpus = existing(workspace).workspace
    if rollback and checkpoint:
        raise ValueError(f"deploy: --rollback takes no checkpoint, {checkpoint!r} was given; it goes to the one before")
    if kind and not rollback:
        raise ValueError(f"deploy: --kind {kind} is of --rollback; a checkpoint tells its kind itself")
    if soak and not checkpoint:
        raise ValueError("deploy: --soak is of a checkpoint; headroom deploy CHECKPOINT --soak 10m")
    if rollback:
        told = flow.run_rollback(corpus.settings.workspace, kind)
    elif checkpoint is None:
        terminal.show(flow.shown(corpus), deployment.shown, as_json)
        return
    else:
        soak_s = seconds_of(soak) if soak else 0.0
        told = flow.run_deploy(
            corpus.settings.workspace,
            checkpoint,
            share=share_of(canary),
            avatar=avatar,
            soak_s=soak_s,
            say=deployment.say,
        )
    terminal.show(told, deployment.deployed, as_json)
    if told["did"] in ("refused", "rolled back"):
        raise typer.Exit(1)
