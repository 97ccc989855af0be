"""A signal that kills its process on one clip: a `sitecustomize` for every process of a command, workers too."""

from __future__ import annotations

from pathlib import Path

CODE = '''
"""kill -9 of whatever process computes `motion` on a clip of more than {frames} frames."""
import importlib.abc
import importlib.util
import os
import signal
import sys
from pathlib import Path


class Poison(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name != "tasks.signals.motion":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        load = spec.loader.exec_module

        def poisoned(module):
            load(module)
            compute = module.compute

            def deadly(media, needs):
                if media.end_frame - media.start_frame > {frames}:
                    Path({deaths!r}, str(os.getpid())).touch()
                    os.kill(os.getpid(), signal.SIGKILL)
                return compute(media, needs)

            module.compute = deadly

        spec.loader.exec_module = poisoned
        return spec


sys.meta_path.insert(0, Poison())
'''


def poison(folder: Path, frames: int) -> tuple[Path, Path]:
    """(a folder for PYTHONPATH, a folder with a file for each process that died of it)."""
    deaths = folder / "deaths"
    deaths.mkdir(parents=True)
    (folder / "sitecustomize.py").write_text(CODE.format(frames=frames, deaths=str(deaths)))
    return folder, deaths
