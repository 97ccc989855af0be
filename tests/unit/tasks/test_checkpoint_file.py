"""Checkpoints read without torch: what torch.save wrote, in both of its formats, and nothing else."""

from __future__ import annotations

import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch

from tasks import checkpoint_file


@pytest.mark.parametrize("as_zip", [True, False])
def test_it_reads_what_torch_reads(tmp_path: Path, as_zip: bool) -> None:
    whole = torch.arange(24, dtype=torch.float32).reshape(4, 6)
    saved = OrderedDict(
        whole=whole,
        part=whole[1:3, ::2],  # the same storage, from within, in steps
        turned=whole.T,
        half=torch.tensor([0.5, -2.0], dtype=torch.float16),
        step=torch.tensor(7),
        told={"epoch": 3, "name": "ge2e"},
    )
    path = tmp_path / "checkpoint.pt"
    torch.save(saved, path, _use_new_zipfile_serialization=as_zip)
    read = checkpoint_file.load(path)
    assert read["told"] == saved["told"]
    for name in ("whole", "part", "turned", "half", "step"):
        assert read[name].dtype == saved[name].numpy().dtype
        assert np.array_equal(read[name], saved[name].numpy())


class _Harmful:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (print, ("run by a checkpoint",))


@pytest.mark.parametrize("as_zip", [True, False])
def test_a_checkpoint_runs_nothing(tmp_path: Path, as_zip: bool, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "harmful.pt"
    torch.save({"model": _Harmful()}, path, _use_new_zipfile_serialization=as_zip)
    with pytest.raises(ValueError, match="asks for __builtin__.print"):
        checkpoint_file.load(path)
    assert capsys.readouterr().out == ""


def test_other_files_are_refused(tmp_path: Path) -> None:
    text, pickled, archive = tmp_path / "text.pt", tmp_path / "pickled.pt", tmp_path / "archive.pt"
    text.write_text("weights")
    pickled.write_bytes(pickle.dumps({"a": 1}) + pickle.dumps(2))
    with zipfile.ZipFile(archive, "w") as made:
        made.writestr("readme.txt", "nothing")
    for path in (text, pickled):
        with pytest.raises(ValueError, match="is not a file that torch.save wrote"):
            checkpoint_file.load(path)
    with pytest.raises(ValueError, match=r"without data.pkl"):
        checkpoint_file.load(archive)
