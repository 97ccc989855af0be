"""The annotation desk under a simulated workforce, and under load.

    python -m benchmarks.annotation workforce [--people 120] [--days 14] [--answers 12] [--types likert flags]
    python -m benchmarks.annotation load [--database sqlite|postgres] [--people 120] [--seconds 35] [--think 10] [--kills 20]

`workforce` lets people of known accuracy work under a simulated clock, once with the closed loop (calibration, hidden
gold, audits, pause) and once without, and holds labels, agreement, pauses and pay against the truth. `load` asks the
web app over HTTP from another process: everybody with a time to think, without media and with; 150 requests a second; and
while the server is killed. Both print the machine first, and end with 1 where a figure is beyond its limit.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any
from unittest import mock

import sqlalchemy as sa

from benchmarks.annotation_crowd import WORKS, Simulation, World, likeness, pay_of, stages, task_type_of
from benchmarks.annotation_load import Load, measure
from benchmarks.machine import machine
from store.annotation import audit_log, items, scores
from store.annotation_database import Database
from store.annotation_work import answers_in, batch, labels_of
from tasks.annotation import answers, results
from tasks.annotation.agreement import ALPHA_FLOOR, PAIRWISE_FLOOR, TARGET


@dataclass(frozen=True)
class Crowd:
    """All people of one kind at the end. `likeness` is of their answers that counted, to the truth; `euro` their pay."""

    kind: str
    num_people: int
    stages: Mapping[str, int]
    num_pauses: int
    num_labels: int
    likeness: float
    euro: float


@dataclass(frozen=True)
class Type:
    """One of WORKS: its raters' agreement with each other, and its labels' likeness to the truth."""

    work: str
    num_labels: int
    num_answers: int
    num_set_aside: int
    agreement_of_all: float
    """Also of the answers that were set aside when whoever gave them was paused."""
    agreement: float
    alpha: float
    likeness: float
    num_doubted: int
    """Labels that the page lists to look at again, which a reviewer then decided."""
    likeness_reviewed: float
    """Of all labels, to the truth, after that."""

    @property
    def holds(self) -> bool:
        floor = PAIRWISE_FLOOR if task_type_of(self.work) == answers.PAIRWISE else ALPHA_FLOOR
        return self.agreement > TARGET and self.alpha >= floor


@dataclass(frozen=True)
class Result:
    crowds: Sequence[Crowd]
    types: Sequence[Type]
    hidden_gold: int
    """Times that somebody met it."""
    wrong_gold: int
    wrong_gold_retired: int
    right_gold_retired: int


def simulated(world: World, folder: Path) -> Result:
    """One workforce from its first day to its last payday."""
    database = Database(f"sqlite:///{folder / f'annotation-{world.loop}.sqlite'}")
    try:
        simulation = Simulation(database, world)
        simulation.run()
        return database.write(lambda c: result(c, simulation))
    finally:
        database.close()


def result(c: Any, simulation: Simulation) -> Result:
    ended, paid = stages(c, simulation), pay_of(c, simulation)
    paused = Counter(c.execute(sa.select(audit_log.c.object).where(audit_log.c.action == "pause")).scalars())
    crowds = []
    for kind in dict.fromkeys(m.kind.name for m in simulation.members):
        members = [m for m in simulation.members if m.kind.name == kind]
        told = [x for m in members for x in m.likeness]
        crowds.append(
            Crowd(
                kind,
                len(members),
                dict(Counter(str(ended[m.id]["stage"]) for m in members)),
                sum(paused[f"person {m.id}"] for m in members),
                len(told),
                mean(told) if told else float("nan"),
                sum(paid.get(m.id, 0) for m in members) / 100,
            )
        )
    gold = c.execute(sa.select(items.c.media, items.c.state).where(items.c.kind == "gold")).all()
    retired = [any(clip in media for clip in simulation.wrong_gold) for media, state in gold if state == "retired"]
    met = c.execute(sa.select(sa.func.count()).select_from(scores).where(scores.c.kind == "gold")).scalar_one()
    return Result(
        crowds,
        [_of_type(c, simulation, work) for work in simulation.world.works],
        int(met),
        len(simulation.wrong_gold),
        sum(retired),
        len(retired) - sum(retired),
    )


def _of_type(c: Any, simulation: Simulation, work: str) -> Type:
    key = simulation.batches[work]
    told = batch(c, key)
    assert told is not None
    given, everything = answers_in(c, key), answers_in(c, key, set_aside=True)
    questions = results.agreement_of(told, given)["questions"]

    def alike() -> list[float]:
        return [likeness(task_type_of(work), row["media"][0]["clip_id"], row["value"]) for row in labels_of(c, key)]

    labels = alike()
    num_doubted = simulation.review_doubted(c, work)
    reviewed = alike()
    return Type(
        work,
        len(labels),
        len(given),
        len(everything) - len(given),
        mean(q.agreement.value for q in results.agreement_of(told, everything)["questions"]),
        mean(q.agreement.value for q in questions),
        mean(q.alpha.value for q in questions),
        mean(labels) if labels else float("nan"),
        num_doubted,
        mean(reviewed) if reviewed else float("nan"),
    )


def tables(on: Result, off: Result) -> str:
    """Markdown: the people, then the task types with the loop and without it."""
    lines = ["| people | how many | at the end | pauses | labels | likeness to the truth | paid |", "|---|---|---|---|---|---|---|"]  # fmt: skip
    for c in on.crowds:
        ended = ", ".join(f"{n} {stage}" for stage, n in sorted(c.stages.items()))
        alike = f"{c.likeness:.2f}" if c.num_labels else ""
        lines.append(
            f"| {c.kind} | {c.num_people} | {ended} | {c.num_pauses} | {c.num_labels:,} | {alike} | {c.euro:,.0f} EUR |"
        )
    lines += ["", "| task | | labels | answers | set aside | agreement | with those set aside | alpha | labels' likeness to the truth | doubted | likeness once these are reviewed |", "|---|---|---|---|---|---|---|---|---|---|---|"]  # fmt: skip
    for one, other in zip(on.types, off.types, strict=True):
        for name, t in (("with the loop", one), ("without", other)):
            counted = f"{t.num_labels:,} | {t.num_answers:,} | {t.num_set_aside:,}"
            figures = f"{t.agreement:.3f} | {t.agreement_of_all:.3f} | {t.alpha:.3f} | {t.likeness:.4f}"
            figures += f" | {t.num_doubted} | {t.likeness_reviewed:.4f}"
            lines.append(f"| {t.work} | {name} | {counted} | {figures} |")
    told = f"hidden gold was met {on.hidden_gold:,} times; of {on.wrong_gold} wrong gold items {on.wrong_gold_retired}"
    return "\n".join([*lines, "", f"{told} were retired, and {on.right_gold_retired} right ones"])


@contextmanager
def _at(database: str) -> Iterator[None]:
    """Where workspaces opened meanwhile have their annotation: a file, or a PostgreSQL server of their own that waits for
    its disk."""
    if database == "sqlite":
        yield
        return
    from tests.databases import can_run_postgres, postgres_server

    if why := can_run_postgres():
        sys.exit(f"--database postgres: {why}")
    with postgres_server(fsync=True) as url, mock.patch.dict(os.environ, {"HEADROOM_LEDGER_URL": url}):
        yield


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("workforce", "load"))
    parser.add_argument("--people", type=int, default=120)
    parser.add_argument("--days", type=int, default=14)
    parser.add_argument(
        "--answers", type=int, default=12, help="a day and person; who clicks through gives more in the same minutes"
    )
    parser.add_argument("--types", nargs="+", choices=WORKS, default=WORKS)
    parser.add_argument("--seconds", type=float, default=35.0, help="of each run under load")
    parser.add_argument("--database", choices=("sqlite", "postgres"), default="sqlite")
    parser.add_argument("--kills", type=int, default=20, help="of the server, under load")
    parser.add_argument("--think", type=float, default=10.0, help="seconds between a claim and its answer, on average")
    options = parser.parse_args()
    print(machine(), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        if options.part == "load":
            with _at(options.database):
                load = Load(options.people, options.seconds, options.think, num_kills=options.kills)
                found = measure(load, Path(folder), options.database)
            print(found.told())
            if missed := found.beyond():
                sys.exit("\n".join(missed))
            return
        size = {"num_people": options.people, "num_days": options.days, "answers_per_day": options.answers}
        size["works"] = tuple(options.types)
        on, off = (simulated(World(**size, loop=loop), Path(folder)) for loop in (True, False))
        print(tables(on, off))
        print(f"{time.process_time():.0f} s of CPU time")
        if missed := [t.work for t in on.types if not t.holds]:
            sys.exit(f"agreement is not above {TARGET}, or alpha under its floor, of {', '.join(missed)}")


if __name__ == "__main__":
    main()
