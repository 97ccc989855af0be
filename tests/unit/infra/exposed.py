"""What the live servers and their HTTP routes expose, taken from the code itself."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from serving.metrics import exposition
from serving.vitals import Vitals


def exposed() -> dict[str, set[str]]:
    """Metric names of `/metrics` with the labels of their samples, of a server with one checkpoint."""
    from prometheus_client.parser import text_string_to_metric_families

    split = SimpleNamespace(stable="c", canary="", share=0.0)
    held = SimpleNamespace(pipelines={"c": None}, serving="c", split=split, refused={"broken": "why"})
    gateway: Any = SimpleNamespace(
        checkpoints=held, talks={}, free=4, switches=1, switched_s=0.1, vitals=lambda: {"c": Vitals()}
    )
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(exposition(gateway).decode()):
        for sample in family.samples:
            found.setdefault(family.name, set()).add(sample.name)
    return found
