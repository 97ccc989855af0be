"""The signals: one file, one signal, one word. Found by discovery; adding one changes nothing else."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from graphlib import TopologicalSorter

from infra import weights
from tasks.signal import LoadedSignal, Signal, fingerprint_of


@cache
def discover() -> dict[str, LoadedSignal]:
    """All signals, by name, each after those it needs.

    Raises ValueError for a file without SIGNAL or compute, an unknown need, or a circle of needs.
    """
    found: dict[str, LoadedSignal] = {}
    for module_info in pkgutil.iter_modules(__path__):
        name = module_info.name
        module = importlib.import_module(f"{__name__}.{name}")
        spec = getattr(module, "SIGNAL", None)
        compute = getattr(module, "compute", None)
        if not isinstance(spec, Signal) or compute is None:
            raise ValueError(f"tasks/signals/{name}.py: found no SIGNAL and compute; declare both")
        sha256 = {w: weights.entry(w).sha256 for w in spec.weights}
        found[name] = LoadedSignal(name, spec, compute, fingerprint_of(name, spec, sha256))
    for name, signal in found.items():
        for need in signal.spec.needs:
            if need not in found:
                raise ValueError(f"signal {name}: needs {need!r}, which is none of {sorted(found)}")
            if signal.spec.grain == "video" and found[need].spec.grain != "video":
                raise ValueError(f"signal {name}: a video signal can't need {need!r}, a clip signal")
    order = TopologicalSorter({n: sorted(found[n].spec.needs) for n in sorted(found)}).static_order()
    return {name: found[name] for name in order}
