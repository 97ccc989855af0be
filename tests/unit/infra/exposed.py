"""What the live servers and their HTTP routes expose, taken from the code itself."""

from __future__ import annotations

from dataclasses import asdict

from serving.checkpoints import Split
from serving.lines import pair
from serving.metrics import exposition
from serving.remote import Worker
from serving.routing import Gateway
from serving.vitals import Vitals
from tests.unit.serving.talker import head


def exposed() -> dict[str, set[str]]:
    """Metric names of `/metrics` with the labels of their samples, of a server with one checkpoint."""
    from prometheus_client.parser import text_string_to_metric_families

    vitals, on = {"c": asdict(Vitals())}, {"s": "c"}
    state = {
        "split": asdict(Split("c")), "renderer": None, "serving": "c", "held": ["c"], "refused": {"broken": "why"}, "on": on, "moving": 0,
        "vitals": vitals, "switches": 1, "switched_s": 0.1, "slowest_switch_s": 0.1, "resident_bytes": 1, "threads": 1,
    }  # fmt: skip
    gateway = Gateway([head()])
    gateway.workers["w"] = Worker(pair()[0], {"hello": "w", "capacity": 4, "state": state})
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(exposition(gateway).decode()):
        for sample in family.samples:
            found.setdefault(family.name, set()).add(sample.name)
    return found
