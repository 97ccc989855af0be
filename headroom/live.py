"""`headroom demo --live`: from the curated tiers to a live session, by the same steps as the single commands.

Where it stands lies in the workspace and nowhere else: killed at any moment and given again, it does what is left.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from headroom.corpus import Corpus

RECIPE = "audio_to_motion"
TIERS = ("a2v_gold", "a2v_silver", "a2v_bronze")
"""The strictest that holds enough is learnt from."""
LEAST_S = 30.0
SPEECH_FROM_S, SPEECH_S = 30.5, 8.0
"""Of the known speech: words that no sample footage says."""


def live(
    corpus: Corpus, built: Sequence[Mapping[str, Any]], say: Callable[[str], None],
    training: Callable[[], AbstractContextManager[Callable[[Any], None]]],
) -> dict[str, Any]:  # fmt: skip
    """Trains on the strictest of the tiers just built that holds enough, deploys, and writes a live session.

    Gives {"trained", "deployed", "session", "took_s"}: the checkpoint as `run_train` tells it, what `run_deploy` says, and what
    flows/live_session.py says of the session, None where the checkpoint was not deployed. Each has "did". Raises ValueError
    when no tier holds enough.
    """
    from flows.deploy import run_deploy
    from flows.train import run_train

    root = corpus.workspace.settings.workspace
    took, began = dict[str, float](), time.monotonic()

    def ended(stage: str) -> None:
        nonlocal began
        took[stage], began = time.monotonic() - began, time.monotonic()

    tier, snapshot = _enough(corpus, built)
    say(f"training {RECIPE} on {tier}")
    with training() as on_step:
        trained = run_train(root, RECIPE, snapshot=snapshot, on_step=on_step)
    ended("training")
    face = _face(corpus, trained["data"]["clips"]["train"])
    deployed = run_deploy(root, trained["id"], avatar=face, say=say)
    ended("deployment")
    session = _session(corpus, trained["id"], face, say) if deployed["state"] == "serving" else None
    ended("session")
    return {"trained": {**trained, "tier": tier}, "deployed": deployed, "session": session, "took_s": took}


def _enough(corpus: Corpus, built: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
    held = {str(b["tier"]): str(b["snapshot"]) for b in built}
    found = []
    for tier in TIERS:
        seconds = corpus.sql(f"SELECT sum(duration_s) AS s FROM {tier} JOIN clips USING (clip_id)")["s"].item() or 0.0
        if seconds >= LEAST_S:
            return tier, held[tier]
        found.append(f"{tier} holds {seconds:.0f} s")
    raise ValueError(
        f"demo --live: too little to learn from ({', '.join(found)}; at least {LEAST_S:.0f} s are needed); curate more "
        "footage of people who talk, headroom tier funnel a2v_bronze shows what keeps clips out"
    )


def _face(corpus: Corpus, clips: Sequence[str]) -> str:
    """The longest clip that it learnt from: whom the session shows."""
    named = ", ".join(f"'{clip}'" for clip in clips)
    query = f"SELECT clip_id FROM clips WHERE clip_id IN ({named}) ORDER BY duration_s DESC, clip_id LIMIT 1"
    return str(corpus.sql(query)["clip_id"].item())


def _session(corpus: Corpus, checkpoint: str, face: str, say: Callable[[str], None]) -> dict[str, Any]:
    """On a running server, else on one of our own; a session that this checkpoint has had with the same words stands."""
    from flows.deploy_probe import speech
    from flows.deploy_servers import servers_of
    from flows.live_session import record

    sound = speech(SPEECH_S, SPEECH_FROM_S)
    words = hashlib.sha256(sound.tobytes()).hexdigest()
    folder = corpus.workspace.settings.workspace / "live"
    out, told_in = folder / f"{checkpoint}.mp4", folder / f"{checkpoint}.json"
    if out.exists() and told_in.exists():
        told: dict[str, Any] = json.loads(told_in.read_text())
        if (told["checkpoint"], told["words"]) == (checkpoint, words):
            return {**told, "path": str(out), "did": "nothing"}
    say("session: a server starts, and says words that it never heard")
    with servers_of(corpus.workspace, face) as (servers, _):
        made = {**record(servers[0], sound, out, face), "words": words}
    _kept(told_in, made)
    return {**made, "did": "recorded"}


def _kept(file: Path, told: Mapping[str, Any]) -> None:
    part = file.with_name(f".{file.name}.part")
    part.write_text(json.dumps(told, sort_keys=True, indent=1))
    part.replace(file)
