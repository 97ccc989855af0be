"""The signals: one file, one signal, one word. Found by discovery; adding one changes nothing else."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from graphlib import TopologicalSorter

from infra import settings, weights
from tasks.backend import chosen
from tasks.signal import LoadedSignal, Signal, fingerprint_of


def discover() -> dict[str, LoadedSignal]:
    """All signals, by name, each after those it needs, computed by the backends that the settings choose.

    Raises ValueError for a file without SIGNAL or compute, an unknown need, a circle of needs, or a backend that
    can't be had.
    """
    return _discover(tuple(sorted(settings.backends().items())))


@cache
def _discover(backends: tuple[tuple[str, str], ...]) -> dict[str, LoadedSignal]:
    found: dict[str, LoadedSignal] = {}
    told = dict(backends)
    for module_info in pkgutil.iter_modules(__path__):
        name = module_info.name
        module = importlib.import_module(f"{__name__}.{name}")
        spec = getattr(module, "SIGNAL", None)
        compute = getattr(module, "compute", None)
        if not isinstance(spec, Signal) or compute is None:
            raise ValueError(f"tasks/signals/{name}.py: found no SIGNAL and compute; declare both")
        if name in told:
            spec, compute = chosen(name, spec, compute, getattr(module, "BACKENDS", {}), told[name])
        sha256 = {w: weights.entry(w).sha256 for w in spec.weights}
        found[name] = LoadedSignal(name, spec, compute, fingerprint_of(name, spec, sha256))
    if unknown := sorted(set(told) - set(found)):
        raise ValueError(f"HEADROOM_BACKENDS: signal {unknown[0]!r} is none of {', '.join(sorted(found))}")
    for name, signal in found.items():
        if stray := set(signal.spec.optional) - set(signal.spec.needs):
            raise ValueError(f"signal {name}: {sorted(stray)[0]!r} is optional and not among its needs")
        for need in signal.spec.needs:
            if need not in found:
                raise ValueError(f"signal {name}: needs {need!r}, which is none of {sorted(found)}")
            if signal.spec.grain == "video" and found[need].spec.grain != "video":
                raise ValueError(f"signal {name}: a video signal can't need {need!r}, a clip signal")
    order = TopologicalSorter({n: sorted(found[n].spec.needs) for n in sorted(found)}).static_order()
    return {name: found[name] for name in order}
