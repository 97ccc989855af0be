from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from infra import settings
from tasks import backend
from tasks.backend import Backend, Checkpoint, checkpoint_of, digest_of_folder
from tasks.media.media import Media
from tasks.signal import Output
from tasks.signals import discover
from tests.drawn_face import media_of, wall

HUB = Backend(run="nowhere:nothing", model="someone/model", licence="MIT")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "model"
    made.mkdir()
    (made / "config.json").write_text("{}")
    (made / "model.safetensors").write_bytes(bytes(range(256)) * 1000)
    return made


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    yield
    monkeypatch.delenv("HEADROOM_BACKENDS", raising=False)


def test_a_line_of_settings_changes_one_fingerprint_and_what_computes(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = discover()
    fingerprints = {}
    for more in ("", "&dtype=float32", "&revision=abc"):
        monkeypatch.setenv("HEADROOM_BACKENDS", f"embedding=siglip?model={folder}{more}")
        after = discover()
        changed = [n for n in before if before[n].fingerprint != after[n].fingerprint]
        assert changed == ["embedding"], more
        fingerprints[more] = after["embedding"].fingerprint
    assert len(set(fingerprints.values())) == 3
    chosen = after["embedding"].spec
    assert (chosen.backend, dict(chosen.vectors), chosen.weights) == ("siglip", {"video": 768}, ())
    assert [c.name for c in chosen.columns] == [c.name for c in before["embedding"].spec.columns]
    monkeypatch.setenv("HEADROOM_BACKENDS", "")
    assert discover() is before


def test_device_and_batch_are_no_part_of_the_fingerprint(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = set()
    for more in ("", "&device=cuda:1", "&batch_size=64"):
        monkeypatch.setenv("HEADROOM_BACKENDS", f"embedding=siglip?model={folder}{more}")
        told.add(discover()["embedding"].fingerprint)
    assert len(told) == 1


def test_a_backend_asks_for_a_gpu_unless_it_is_told_to_use_the_cpu(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {}
    for more in ("", "&device=cuda:1", "&device=cpu"):
        monkeypatch.setenv("HEADROOM_BACKENDS", f"embedding=siglip?model={folder}{more}")
        asked[more] = discover()["embedding"].spec.resources.gpu_gib
    assert asked == {"": 2.0, "&device=cuda:1": 2.0, "&device=cpu": 0.0}


def test_other_weights_are_another_revision(folder: Path) -> None:
    first = digest_of_folder(folder)
    assert first == digest_of_folder(folder)
    (folder / "model.safetensors").write_bytes(bytes(range(255)) * 1000 + bytes(1000))
    assert digest_of_folder(folder) != first


def test_the_revision_is_the_commit_in_the_hub_cache(tmp_path: Path) -> None:
    refs = tmp_path / "hub" / "models--someone--model" / "refs"
    refs.mkdir(parents=True)
    (refs / "main").write_text("0123abcd\n")
    assert checkpoint_of("it", HUB, {"device": "cpu"}) == Checkpoint("someone/model", "0123abcd", "bfloat16", "cpu", 8)
    monkey = pytest.MonkeyPatch()
    monkey.delenv("HF_HUB_CACHE")
    monkey.setenv("HF_HOME", "/somewhere")
    assert backend.hub_cache() == Path("/somewhere/hub")
    monkey.undo()


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ("embedding=nothing", "backend 'nothing' is unknown, it has siglip"),
        ("motion=raft", "it has none"),
        ("embedding=siglip?model=/no/where", "there is no folder /no/where; name the folder"),
        ("embedding=siglip", "is not in .*; run hf download google/siglip2-base-patch16-224"),
        ("embedding=siglip?dtype=int3&revision=a", "dtype 'int3' is none of float32"),
        ("embedding=siglip?batch_size=0&revision=a", "batch_size '0' is no number above zero"),
        ("embedding=siglip?colour=red", "setting 'colour' is none of model, revision"),
        ("nobody=siglip", "signal 'nobody' is none of"),
        ("embedding", "'embedding' is no SIGNAL=BACKEND"),
        ("embedding=siglip embedding=siglip", "twice"),
    ],
)
def test_a_setting_that_can_not_be_is_told(told: str, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADROOM_BACKENDS", told)
    with pytest.raises(ValueError, match=why):
        discover()


def test_a_missing_package_names_the_extra(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setenv("HEADROOM_BACKENDS", f"embedding=siglip?model={folder}&revision=missing")
    with pytest.raises(ValueError, match=r"pip install -e '.\[hub\]'"):
        discover()


def test_a_model_is_loaded_once_and_its_function_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    spec, default = discover()["motion"].spec, discover()["motion"].compute
    stand_in = Backend(run="tests.unit.tasks.stand_in_backend:motion", model="m", licence="MIT", dtype="float32")
    settings_of = "stand_in?revision=r1&batch_size=3"
    chosen, compute = backend.chosen("motion", spec, default, {"stand_in": stand_in}, settings_of)
    media = Media(0, 25, 64, 48)
    rows = [compute(media, {"x": 1}).row for _ in range(2)]
    assert rows == [{"model": "m at r1 in float32, 3 a batch", "loads": 1, "needs": 1}] * 2
    assert chosen.params["revision"] == "r1"


def test_settings_carry_the_choice_to_other_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADROOM_BACKENDS", "speech=whisper")
    assert settings.load("w").backends == "speech=whisper"
    assert settings.backends() == {"speech": "whisper"}


@pytest.mark.slow
def test_signals_by_hub_models_keep_their_columns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("transformers")
    import pyarrow as pa

    from tasks.compute import attempt
    from tasks.signals import embedding, keyframes
    from tests import tiny_checkpoints as tiny

    vl, sig, wh = (make(tmp_path / n) for n, make in (("v", tiny.qwen2_5_vl), ("s", tiny.siglip), ("w", tiny.whisper)))
    told = f"visual_quality=q_align?model={vl} embedding=siglip?model={sig} speech=whisper?model={wh}&dtype=float32"
    told += f" content=qwen_vl?model={vl} language=whisper?model={wh}&dtype=float32"
    monkeypatch.setenv("HEADROOM_BACKENDS", told)
    monkeypatch.setattr("tasks.signals.embedding.BACKENDS", _of_16(embedding.BACKENDS))
    scene = media_of({f: wall(96, 64) for f in range(75)}, 75)
    scene.audio = np.random.default_rng(0).normal(0, 0.1, 48_000).astype(np.float32)
    vad = pa.table({"frame": pa.array(range(75), pa.int32()), "speech_prob": pa.array([0.9] * 75, pa.float32())})
    needs = {"vad": vad, "keyframes": keyframes.compute(scene, {}).timeline}
    for name in ("visual_quality", "embedding", "speech", "content", "language"):
        signal = discover()[name]

        def run(signal: object = signal) -> Output:
            return signal.compute(scene, needs)  # type: ignore[attr-defined]

        held = attempt(signal, run, 0, None, 0.0)
        assert held.status == "ok", held.reason


def test_every_function_of_a_backend_can_be_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A function of the shape (model, media, needs, default) that no signal names is code no user can reach."""
    import importlib
    import inspect
    import pkgutil

    import tasks.backends
    import tasks.signals

    reachable = {
        backend.run
        for found in pkgutil.iter_modules(tasks.signals.__path__)
        for backend in getattr(importlib.import_module(f"tasks.signals.{found.name}"), "BACKENDS", {}).values()
    }
    written = {
        f"tasks.backends.{found.name}:{name}"
        for found in pkgutil.iter_modules(tasks.backends.__path__)
        for name, made in vars(importlib.import_module(f"tasks.backends.{found.name}")).items()
        if inspect.isfunction(made)
        and list(inspect.signature(made).parameters) == ["model", "media", "needs", "default"]
    }
    assert not written - reachable


def _of_16(backends: dict[str, Backend]) -> dict[str, Backend]:
    """The tiny SigLIP has 16 dimensions."""
    from dataclasses import replace

    one = backends["siglip"]
    return {"siglip": replace(one, changes={**one.changes, "vectors": {"video": 16}})}
