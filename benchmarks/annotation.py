"""The annotation desk under a simulated workforce, and under load.

    python -m benchmarks.annotation workforce [--people 120] [--days 14] [--answers 12] [--types likert flags]
    python -m benchmarks.annotation load [--people 120] [--seconds 60] [--think 10]

`workforce` lets people of known accuracy work under a simulated clock, once with the closed loop (calibration, hidden
gold, audits, pause) and once without, and holds labels, agreement, pauses and pay against the truth. `load` asks the
web app over HTTP from another process, everybody with a time to think. Both print the machine first.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import sqlalchemy as sa

from benchmarks.annotation_crowd import Simulation, World, likeness, pay_of, stages
from benchmarks.annotation_load import Load, measure
from benchmarks.machine import machine
from store.annotation import audit_log, items, scores
from store.annotation_database import Database
from store.annotation_work import answers_in, batch, labels_of
from tasks.annotation import answers, results


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
    """One task type: its raters' agreement with each other, and its labels' likeness to the truth."""

    task_type: str
    num_labels: int
    agreement: float
    alpha: float
    likeness: float


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
        [_of_type(c, simulation, t) for t in simulation.world.task_types],
        int(met),
        len(simulation.wrong_gold),
        sum(retired),
        len(retired) - sum(retired),
    )


def _of_type(c: Any, simulation: Simulation, task_type: str) -> Type:
    key = simulation.batches[task_type]
    told = batch(c, key)
    assert told is not None
    questions = results.agreement_of(told, answers_in(c, key))["questions"]
    labels = [likeness(task_type, row["media"][0]["clip_id"], row["value"]) for row in labels_of(c, key)]
    return Type(
        task_type,
        len(labels),
        mean(q.agreement.value for q in questions),
        mean(q.alpha.value for q in questions),
        mean(labels),
    )


def tables(on: Result, off: Result) -> str:
    """Markdown: the people, then the task types with the loop and without it."""
    lines = ["| people | how many | at the end | pauses | labels | likeness to the truth | paid |", "|---|---|---|---|---|---|---|"]  # fmt: skip
    for c in on.crowds:
        ended = ", ".join(f"{n} {stage}" for stage, n in sorted(c.stages.items()))
        lines.append(
            f"| {c.kind} | {c.num_people} | {ended} | {c.num_pauses} | {c.num_labels:,} | {c.likeness:.2f} | {c.euro:,.0f} EUR |"
        )
    lines += ["", "| task type | | labels | agreement | alpha | labels' likeness to the truth |", "|---|---|---|---|---|---|"]  # fmt: skip
    for one, other in zip(on.types, off.types, strict=True):
        for name, t in (("with the loop", one), ("without", other)):
            lines.append(
                f"| {t.task_type} | {name} | {t.num_labels:,} | {t.agreement:.3f} | {t.alpha:.3f} | {t.likeness:.3f} |"
            )
    told = f"hidden gold was met {on.hidden_gold:,} times; of {on.wrong_gold} wrong gold items {on.wrong_gold_retired}"
    return "\n".join([*lines, "", f"{told} were retired, and {on.right_gold_retired} right ones"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("workforce", "load"))
    parser.add_argument("--people", type=int, default=120)
    parser.add_argument("--days", type=int, default=14)
    parser.add_argument("--answers", type=int, default=12, help="a day and person")
    parser.add_argument("--types", nargs="+", choices=answers.TASK_TYPES, default=answers.TASK_TYPES)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--think", type=float, default=10.0, help="seconds between a claim and its answer, on average")
    options = parser.parse_args()
    print(machine(), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        if options.part == "load":
            print(measure(Load(options.people, options.seconds, options.think), Path(folder)).told())
            return
        size = {"num_people": options.people, "num_days": options.days, "answers_per_day": options.answers}
        size["task_types"] = tuple(options.types)
        on, off = (simulated(World(**size, loop=loop), Path(folder)) for loop in (True, False))
        print(tables(on, off))


if __name__ == "__main__":
    main()
