from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tasks.backend import Checkpoint, Dtype

Made = Callable[..., Checkpoint]


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """checkpoint("siglip", dtype="bfloat16", batch_size=2): a tiny one, made once."""
    from tests import tiny_checkpoints as tiny

    folders: dict[str, Path] = {}

    def made(kind: str, dtype: Dtype = "float32", batch_size: int = 4) -> Checkpoint:
        if kind not in folders:
            folders[kind] = getattr(tiny, kind)(tmp_path_factory.mktemp(kind))
        return Checkpoint(str(folders[kind]), "folder-tiny", dtype, "cpu", batch_size)

    return made


@pytest.fixture(scope="session")
def images() -> list[np.ndarray]:
    return [np.random.default_rng(i).integers(0, 255, (48, 64, 3), np.uint8) for i in range(5)]


@pytest.fixture(scope="session")
def voice() -> np.ndarray:
    """9 s of 16 kHz noise whose loudness changes."""
    random = np.random.default_rng(0)
    return (random.normal(0, 0.1, 144_000) * np.abs(np.sin(np.arange(144_000) / 9000))).astype(np.float32)
