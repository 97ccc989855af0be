"""A run as a closed network of queues: who waits for whom, and which station binds first.

One run has as many batches under way as it has workers (flows/submit.py submits no more). A batch passes the driver, which
makes it a Prefect task and a future; the scheduler; a worker; the object store, which the worker writes; and the driver
again, which commits it, alone.
"""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Service:
    """Seconds that one batch takes of each station. `store_s` is of its share of requests and bytes."""

    submit_s: float
    schedule_s: float
    work_s: float
    store_s: float
    commit_s: float

    @property
    def driver_s(self) -> float:
        return self.submit_s + self.commit_s


@dataclass(frozen=True)
class Told:
    """What a simulation saw: batches a second, and the share of the time that each station was busy."""

    batches_s: float
    busy: Mapping[str, float]

    @property
    def binds(self) -> str:
        return max(self.busy, key=lambda name: self.busy[name])


def bounds(service: Service) -> dict[str, float]:
    """Batches a second that each station can pass, however many workers there are."""
    each = {"driver": service.driver_s, "scheduler": service.schedule_s, "object store": service.store_s}
    return {name: 1 / s if s else math.inf for name, s in each.items()}


def most_workers(service: Service) -> float:
    """Workers that the slowest other station keeps busy."""
    return min(bounds(service).values()) * service.work_s


def simulated(service: Service, workers: int, batches: int, seed: int = 0) -> Told:
    """Events in order of time; times of work vary (gamma, shape 4), those of the other stations do not."""
    draw = random.Random(seed)
    now, done, sequence = 0.0, 0, 0
    free = dict.fromkeys(("driver", "scheduler", "object store"), 0.0)
    spent = dict.fromkeys(("driver", "scheduler", "object store", "workers"), 0.0)
    path = (("driver", service.submit_s), ("scheduler", service.schedule_s), ("work", service.work_s),
            ("object store", service.store_s), ("driver", service.commit_s))  # fmt: skip
    events = [(0.0, i, 0) for i in range(workers)]  # (time, order of arrival, step of the path)
    heapq.heapify(events)
    sequence = workers
    while done < batches:
        now, _, step = heapq.heappop(events)
        if step == len(path):
            done, step = done + 1, 0
        station, cost = path[step]
        if station == "work":
            cost = draw.gammavariate(4, cost / 4)
            spent["workers"] += cost / workers
            end = now + cost
        else:
            end = max(now, free[station]) + cost
            free[station] = end
            spent[station] += cost
        sequence += 1
        heapq.heappush(events, (end, sequence, step + 1))
    return Told(batches / now, {name: min(1.0, s / now) for name, s in spent.items()})
