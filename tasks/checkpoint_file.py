"""Tensors out of a file that torch.save wrote, without torch: importing it costs a worker 180 MiB that nothing else needs.

Such a file is a pickle whose tensors point at raw storages: in a zip beside it since torch 1.6, after it in the same
file before. Unpickling may make nothing but these tensors and plain containers.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np

_DTYPES = {
    "FloatStorage": np.dtype("<f4"),
    "DoubleStorage": np.dtype("<f8"),
    "HalfStorage": np.dtype("<f2"),
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
}
_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
"""How a file of before 1.6 begins."""

Storage = Callable[[str, np.dtype, int], np.ndarray]
"""Key, type and number of values; to a flat array."""


def load(path: Path) -> Any:
    """What was saved, each tensor a numpy array.

    Raises ValueError for a file of another kind, and for one that would make anything but tensors and containers.
    """
    with path.open("rb") as file:
        if zipfile.is_zipfile(file):
            return _from_zip(file)
        file.seek(0)
        return _from_stream(file)


def _from_zip(file: IO[bytes]) -> Any:
    with zipfile.ZipFile(file) as archive:
        told = next((n for n in archive.namelist() if n.endswith("/data.pkl")), None)
        if told is None:
            raise ValueError(f"{file.name} is a zip without data.pkl, so torch.save did not write it")
        folder = told.removesuffix("data.pkl")

        def stored(key: str, dtype: np.dtype, _: int) -> np.ndarray:
            return np.frombuffer(archive.read(f"{folder}data/{key}"), dtype)

        return _Reader(io.BytesIO(archive.read(told)), stored).load()


def _from_stream(file: IO[bytes]) -> Any:
    """Storages come after the tensors that point at them, so these are made first and filled then."""
    storages: dict[str, np.ndarray] = {}

    def stored(key: str, dtype: np.dtype, num_values: int) -> np.ndarray:
        return storages.setdefault(key, np.empty(num_values, dtype))

    def part() -> Any:
        return _Reader(file, stored).load()

    try:
        known = (part(), part()) == (_MAGIC, _PROTOCOL)
    except (pickle.UnpicklingError, EOFError):
        known = False
    if not known:
        raise ValueError(f"{file.name} is not a file that torch.save wrote")
    _system, saved, keys = part(), part(), part()
    for key in keys:
        assert np.frombuffer(file.read(8), "<i8")[0] == len(storages[key]), key
        storages[key][:] = np.frombuffer(file.read(storages[key].nbytes), storages[key].dtype)
    return saved


class _Reader(pickle.Unpickler):
    def __init__(self, file: IO[bytes], stored: Storage) -> None:
        super().__init__(file)
        self._stored = stored

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _tensor
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]
        raise ValueError(f"a checkpoint asks for {module}.{name}; only tensors and containers are read")

    def persistent_load(self, pid: Any) -> np.ndarray:
        _, dtype, key, _, num_values, *_ = pid
        return self._stored(key, dtype, num_values)


def _tensor(storage: np.ndarray, offset: int, shape: tuple[int, ...], stride: tuple[int, ...], *_: Any) -> np.ndarray:
    strides = tuple(s * storage.itemsize for s in stride)
    return np.lib.stride_tricks.as_strided(storage[offset:], shape, strides, writeable=False)
