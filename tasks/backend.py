"""Another way to compute a signal: a large hub model behind the same columns, chosen by one line of settings.

A signal file may hold `BACKENDS = {"whisper": Backend(...)}`. `HEADROOM_BACKENDS="speech=whisper?dtype=float16"` has
that signal computed by it; discovery puts the checkpoint's name, revision and dtype into its fingerprint, so exactly
the rows of that signal and what depends on them become stale.

Nothing is downloaded: a checkpoint is a folder, or lies in the hub's cache on this machine.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import os
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, cast
from urllib.parse import parse_qsl

from tasks.media.media import Media
from tasks.signal import Compute, Needs, Output, Signal

Dtype = Literal["float32", "float16", "bfloat16"]
DTYPES = ("float32", "float16", "bfloat16")
SAMPLES, SAMPLE_BYTES = 64, 64 << 10
"""A file of weights is told from another by 64 pieces of 64 KiB: reading 16 GB at every start would take a minute."""


@dataclass(frozen=True)
class Backend:
    """A model of the hub that can compute a signal.

    `run` names the function, `module:function`, called with (model, media, needs, default): the model that the
    module's `load(checkpoint)` gave, and the signal's own compute, for the columns that the model has nothing to say
    about. `changes` are the fields of Signal that differ: what it looks at, what it needs, a vector's dimension.
    `licence` is of the weights, as their authors state it; `code` of the model's code. `version` rises whenever the
    output may change. `package` is what must be installed for it; without one it is no hub model but a folder that
    Headroom wrote.
    """

    run: str
    model: str
    licence: str
    code: str = "Apache-2.0 (transformers)"
    dtype: Dtype = "bfloat16"
    batch_size: int = 8
    version: int = 1
    source: str = ""
    package: str = "transformers"
    changes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Checkpoint:
    """Which weights, and how they are run. The device and the batch size are no part of a fingerprint."""

    model: str
    revision: str
    dtype: Dtype
    device: str
    batch_size: int


def chosen(
    signal: str, spec: Signal, default: Compute, backends: Mapping[str, Backend], told: str
) -> tuple[Signal, Compute]:
    """(spec, compute) of a signal under the setting `NAME?dtype=float16&model=...`.

    Raises ValueError for a backend the signal does not have, a setting that can't be, a missing package, or weights
    that are not on this machine.
    """
    name, _, text = told.partition("?")
    if name not in backends:
        had = f"it has {', '.join(sorted(backends))}" if backends else "it has none"
        raise ValueError(f"signal {signal}: backend {name!r} is unknown, {had}; change HEADROOM_BACKENDS")
    backend = backends[name]
    if backend.package and importlib.util.find_spec(backend.package) is None:
        raise ValueError(f"backend {name}: transformers is not installed; pip install -e '.[hub]'")
    checkpoint = checkpoint_of(name, backend, dict(parse_qsl(text, keep_blank_values=True)))
    # A folder is known by what is in it: the same one elsewhere makes no row stale.
    model = Path(checkpoint.model).name if Path(checkpoint.model).is_dir() else checkpoint.model
    params = {**spec.params, "model": model, "revision": checkpoint.revision, "dtype": checkpoint.dtype}
    params |= {"backend_version": backend.version}
    changed = replace(spec, backend=name, params=params, **backend.changes)
    if checkpoint.device == "cpu":
        changed = replace(changed, resources=spec.resources)
    return changed, _compute(backend, checkpoint, default)


def checkpoint_of(name: str, backend: Backend, told: Mapping[str, str]) -> Checkpoint:
    """The backend's own values with those of the settings over them. Raises ValueError for what can't be."""
    known = [f.name for f in fields(Checkpoint)]
    if unknown := sorted(set(told) - set(known)):
        raise ValueError(f"backend {name}: setting {unknown[0]!r} is none of {', '.join(known)}")
    dtype = told.get("dtype", backend.dtype)
    if dtype not in DTYPES:
        raise ValueError(f"backend {name}: dtype {dtype!r} is none of {', '.join(DTYPES)}")
    size = told.get("batch_size", str(backend.batch_size))
    if not size.isdecimal() or int(size) < 1:
        raise ValueError(f"backend {name}: batch_size {size!r} is no number above zero")
    model = told.get("model", backend.model)
    if not backend.package and not Path(model).is_dir():
        raise ValueError(f"backend {name}: there is no folder {model!r}; {backend.model}")
    revision = told.get("revision") or revision_of(name, model)
    return Checkpoint(model, revision, cast(Dtype, dtype), told.get("device", "auto"), int(size))


def revision_of(name: str, model: str) -> str:
    """What identifies the weights: the commit that the hub's cache holds, or a digest of a folder's files.

    Raises ValueError when neither is there.
    """
    folder = Path(model)
    if folder.is_dir():
        return digest_of_folder(folder)
    told = hub_cache() / ("models--" + model.replace("/", "--")) / "refs" / "main"
    if not told.is_file() and folder.is_absolute():
        raise ValueError(f"backend {name}: there is no folder {model}; name the folder of a checkpoint")
    if not told.is_file():
        raise ValueError(
            f"backend {name}: {model} is not in {hub_cache()}; run hf download {model}, or say model=FOLDER"
        )
    return told.read_text().strip()


def hub_cache() -> Path:
    """Where `hf download` puts checkpoints."""
    home = os.environ.get("HF_HOME") or str(Path.home() / ".cache" / "huggingface")
    return Path(os.environ.get("HF_HUB_CACHE") or Path(home) / "hub")


def digest_of_folder(folder: Path) -> str:
    """Of the names, sizes and sampled bytes of its files; the same on every machine that holds the same checkpoint."""
    state = hashlib.sha256()
    for file in sorted(f for f in folder.iterdir() if f.is_file() and not f.name.startswith(".")):
        size = file.stat().st_size
        state.update(f"{file.name}:{size}:".encode())
        step = max(SAMPLE_BYTES, size // SAMPLES)
        with file.open("rb") as handle:
            for start in range(0, size, step):
                handle.seek(start)
                state.update(handle.read(SAMPLE_BYTES))
    return "folder-" + state.hexdigest()[:16]


_loaded: dict[tuple[str, Checkpoint], Any] = {}
_turn = threading.Lock()
_spent = threading.local()


def model_s() -> float:
    """Seconds that models of backends have been at work for this thread so far: what they take of a GPU, where they have
    one. Waiting for a turn and loading a checkpoint are no part of it."""
    return float(getattr(_spent, "s", 0.0))


def _compute(backend: Backend, checkpoint: Checkpoint, default: Compute) -> Compute:
    module_name, function = backend.run.split(":")

    def compute(media: Media, needs: Needs) -> Output:
        module = importlib.import_module(module_name)
        # One model a process, one thread in it at a time: eight threads must not hold eight times 16 GB.
        with _turn:
            key = (module_name, checkpoint)
            if key not in _loaded:
                _loaded[key] = module.load(checkpoint)
            began = time.monotonic()
            try:
                made: Output = getattr(module, function)(_loaded[key], media, needs, default)
            finally:
                _spent.s = model_s() + time.monotonic() - began
            return made

    return compute
