"""What people would rate a clip: linear models over what is stored of it, by dimension, fitted to annotators' ratings.

The models are a file in a folder of the workspace, written by `headroom train rated_quality`. Nothing is decoded.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from infra.clip_features import Features, Linear, blendshape_features
from tasks.backend import Checkpoint
from tasks.media.media import Media
from tasks.signal import Compute, Needs, NotApplicable, Output

FILE = "rated.safetensors"


@dataclass(frozen=True)
class Rated:
    """`models` by column of the signal; `names` the columns that they read; `left_out` why there is none, by column."""

    models: Mapping[str, Linear]
    names: tuple[str, ...]
    left_out: Mapping[str, str]

    def to_bytes(self) -> bytes:
        """The same models, the same bytes."""
        from safetensors.numpy import save

        told = {f"{k}/{name}": array for k, model in self.models.items() for name, array in model.to_arrays().items()}
        words = json.dumps({"names": self.names, "left_out": dict(self.left_out)}, sort_keys=True)
        return bytes(save(told, {"rated": words}))

    @staticmethod
    def read(file: Path) -> Rated:
        from safetensors import safe_open

        with safe_open(file, framework="numpy") as held:
            words = json.loads(held.metadata()["rated"])
            arrays: dict[str, dict[str, np.ndarray]] = {}
            for key in sorted(held.keys()):
                column, _, name = key.partition("/")
                arrays.setdefault(column, {})[name] = held.get_tensor(key)
        models = {column: Linear.from_arrays(told) for column, told in arrays.items()}
        return Rated(models, tuple(words["names"]), words["left_out"])


def load(checkpoint: Checkpoint) -> Rated:
    return Rated.read(Path(checkpoint.model) / FILE)


def rated_quality(rated: Rated, media: Media, needs: Needs, default: Compute) -> Output:
    """Raises NotApplicable where nothing is known of the clip: what the model would say then is a constant."""
    given = features(rated, needs)
    if not np.isfinite(given.columns).any():
        raise NotApplicable("none of what the ratings were learnt from is known of the clip")
    row: dict[str, Any] = {
        column: float(np.clip(model.values(given)[0], 1, 5)) for column, model in rated.models.items()
    }
    told = "; ".join(f"{column}: {why}" for column, why in rated.left_out.items())
    return Output(row=dict.fromkeys(rated.left_out) | row | {"left_out": told or None})


def features(rated: Rated, needs: Needs) -> Features:
    """Of one clip, in the order that the models read. Raises ValueError for a column that its signal no longer has."""
    rows = {name: row for name, row in needs.items() if isinstance(row, Mapping)}
    told: dict[str, Any] = {f"{name}_{column}": value for name, row in rows.items() for column, value in row.items()}
    if needs.get("landmarks") is not None:
        told |= blendshape_features(needs["landmarks"]["blendshapes"].to_pylist())
    for name in rated.names:
        if name not in told and any(name.startswith(f"{signal}_") for signal in rows):
            raise ValueError(f"the model reads {name}, which is there no more; headroom train rated_quality")
    values = [np.nan if told.get(name) is None else float(told[name]) for name in rated.names]
    bases = next(iter(rated.models.values())).inputs.bases
    vectors: dict[str, np.ndarray] = {name: np.full((1, len(basis)), np.nan) for name, basis in bases.items()}
    for name, vector in needs.items():
        key = name.replace(".", "_")
        if isinstance(vector, np.ndarray) and key in vectors:
            if len(vector) != len(bases[key]):
                raise ValueError(
                    f"the model reads {key} of {len(bases[key])} numbers, it has {len(vector)} now; headroom train rated_quality"
                )
            vectors[key] = vector[None].astype(float)
    return Features(rated.names, np.array([values], float), vectors)
