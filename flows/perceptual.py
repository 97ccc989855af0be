"""`headroom evaluate CHECKPOINT --with NAME=WEIGHTS`: measures of a renderer by networks whose weights ship in no package.

Nothing is downloaded, and without `--with` there are none of these measures. What measured is told with the figures and is part
of the name of the file that they are kept in, so that those of other weights are never taken for them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from tasks.backend import Backend, Checkpoint, checkpoint_of

if TYPE_CHECKING:
    from torch.nn import Module

    from modeling.motion_set import MotionClip
    from modeling.perceptual.measures import Perceptual, VideoFeatures

VERSION = 1
"""Rises whenever a measure may come out differently of the same weights."""
VIDEOMAE = Backend(
    "tasks.backends.videomae:load", "MCG-NJU/videomae-base-finetuned-kinetics", "CC-BY-NC-4.0", dtype="float32"
)


@dataclass(frozen=True)
class Measure:
    """An optional measure: what is given for it, where that comes from, and its licence as the authors state it."""

    given: str
    source: str
    licence: str


MEASURES = {
    "lpips": Measure(
        "lpips=FOLDER",
        "torchvision's alexnet-owt-7be5be79.pth and alex.pth of the package lpips (weights/v0.1)",
        "heads BSD-2-Clause; torchvision BSD-3-Clause, whose authors say that the terms of ImageNet may bind its weights",
    ),
    "fvd": Measure(
        "fvd=MODEL[?revision=...&dtype=...&device=...&batch_size=...]",
        f"a VideoMAE of transformers in the hub's cache or a folder, as {VIDEOMAE.model}",
        f"{VIDEOMAE.licence} for {VIDEOMAE.model}: not for commercial use",
    ),
    "lse": Measure(
        "lse=FILE",
        "syncnet_v2.model, which download_model.sh of github.com/joonson/syncnet_python fetches",
        "MIT for that repository; its authors state none of the weights' own",
    ),
}


@dataclass(frozen=True)
class Networks:
    """What was loaded; `told` says of each what it is: model, revision, dtype, licence."""

    told: Mapping[str, Mapping[str, Any]]
    lpips: Any = None
    syncnet: Any = None
    video: VideoFeatures | None = None

    @property
    def digest(self) -> str:
        """Of what measures; empty where nothing does."""
        text = json.dumps([VERSION, self.told], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16] if self.told else ""

    def measuring(self, spoken: Sequence[MotionClip]) -> Perceptual | None:
        """For clips with their sound; None where nothing measures."""
        from modeling.perceptual.measures import Perceptual

        if not self.told:
            return None
        return Perceptual(self.lpips, self.syncnet, self.video, {clip.clip_id: clip for clip in spoken})


def networks_of(told: Sequence[str]) -> Networks:
    """Loads what `--with` names. Raises ValueError for a name that is unknown or comes twice, for weights that are lacking or of
    another network, and where transformers is missing."""
    given: dict[str, str] = {}
    for text in told:
        name, _, value = text.partition("=")
        if name not in MEASURES:
            known = "; ".join(f"{m.given}: {m.source}" for m in MEASURES.values())
            raise ValueError(f"evaluate: --with {text!r} is none of {', '.join(MEASURES)} ({known})")
        if not value:
            raise ValueError(_with_source(name, "needs its weights"))
        if name in given:
            raise ValueError(f"evaluate: --with {name} is given twice; one set of weights measures at a time")
        given[name] = value
    found: dict[str, Any] = {}
    about: dict[str, Mapping[str, Any]] = {}
    for name, value in given.items():
        try:
            found[name], about[name] = _LOADERS[name](value)
        except (ValueError, ConnectionError) as error:
            raise ValueError(_with_source(name, str(error))) from error
    return Networks(about, found.get("lpips"), found.get("lse"), found.get("fvd"))


def _with_source(name: str, why: str) -> str:
    of = MEASURES[name]
    return f"evaluate: --with {name}: {why}. Say --with {of.given}; weights: {of.source}; licence: {of.licence}"


def _lpips(value: str) -> tuple[Module, dict[str, Any]]:
    from modeling.perceptual import lpips

    path, device = _place(value)
    files = lpips.files_of(path)
    return _moved(lpips.load(path), device), _about("lpips", files)


def _lse(value: str) -> tuple[Module, dict[str, Any]]:
    from modeling.perceptual import syncnet

    path, device = _place(value)
    return _moved(syncnet.load(path), device), _about("lse", [path])


def _fvd(value: str) -> tuple[VideoFeatures, dict[str, Any]]:
    if find_spec(VIDEOMAE.package) is None:
        raise ValueError("transformers is not installed; pip install -e '.[hub]'")
    from tasks.backends import videomae

    model, _, text = value.partition("?")
    checkpoint = checkpoint_of("fvd", VIDEOMAE, {**dict(parse_qsl(text, keep_blank_values=True)), "model": model})
    licence = VIDEOMAE.licence if checkpoint.model == VIDEOMAE.model else "as its authors state it"
    name = Path(model).name if Path(model).is_dir() else model
    about = {"model": name, "revision": checkpoint.revision, "dtype": checkpoint.dtype, "licence": licence}
    return videomae.load(checkpoint).features, about


_LOADERS: Mapping[str, Callable[[str], tuple[Any, dict[str, Any]]]] = {"lpips": _lpips, "fvd": _fvd, "lse": _lse}


def _place(value: str) -> tuple[Path, str]:
    """Of PATH[?device=...], the path and the device, by default the first GPU or the CPU."""
    path, _, text = value.partition("?")
    told = dict(parse_qsl(text, keep_blank_values=True))
    if unknown := sorted(set(told) - {"device"}):
        raise ValueError(f"setting {unknown[0]!r} is not device, the only one")
    return Path(path).expanduser(), told.get("device", "auto")


def _moved(net: Module, device: str) -> Module:
    import torch

    from tasks.backends.hub import device_of

    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False
    try:
        return net.to(device_of(Checkpoint("", "", "float32", device, 1)))
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device {device!r}: {str(error).splitlines()[0]}") from error


def _about(name: str, files: Sequence[Path]) -> dict[str, Any]:
    from modeling.perceptual.weights import digest_of

    return {
        "model": ", ".join(file.name for file in files),
        "revision": digest_of(files),
        "dtype": "float32",
        "licence": MEASURES[name].licence,
    }
