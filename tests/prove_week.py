"""The proof `week`: seven nights of a `headroom up`, compressed; `python -m tests.prove_week FOLDER` leaves it running to be looked at."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from flows.cut_off import TOLD
from store.workspace import open_workspace
from tasks.wanted import ask
from tests.commands import ROOT, environment, headroom
from tests.running_up import Up, ended, wait
from tests.tables import doubled
from tests.unit.flows.footage import make_talk

BUDGET_S = 600.0
SIGNALS = ("motion", "phash", "visual_quality")
RAISES = "the long clip has no keypoints"
CALM = "SELECT clip_id FROM signals WHERE motion_static_ratio < 0.95"

CHANGED = '''
"""Signals as WEEK.json tells: another version, slower, or raising on clips longer than so many frames."""
import dataclasses
import importlib.abc
import importlib.util
import json
import sys
import time
from pathlib import Path

TOLD = Path({told!r})


class Changed(importlib.abc.MetaPathFinder):
    def __init__(self):
        self.told = json.loads(TOLD.read_text())

    def find_spec(self, name, path, target=None):
        told = self.told.pop(name.removeprefix("tasks.signals."), None)
        if told is None:
            return None
        spec = importlib.util.find_spec(name)
        load = spec.loader.exec_module

        def changed(module):
            load(module)
            compute = module.compute

            def another(media, needs):
                if media.end_frame - media.start_frame > told.get("raises_above_frames", 1 << 30):
                    raise ValueError({raises!r})
                time.sleep(told.get("wait_s", 0))
                return compute(media, needs)

            module.SIGNAL = dataclasses.replace(module.SIGNAL, version=module.SIGNAL.version + told.get("newer", 0))
            module.compute = another

        spec.loader.exec_module = changed
        return spec


sys.meta_path.insert(0, Changed())
'''


@dataclass
class Week:
    """A workspace under a `headroom up`, and what each of its nights came to."""

    folder: Path
    up: Up | None = None
    lines: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        for made in (self.incoming, self.workspace / "tiers", self.site):
            made.mkdir(parents=True)
        self.signals_are({})
        (self.site / "sitecustomize.py").write_text(CHANGED.format(told=str(self.site / "week.json"), raises=RAISES))
        (self.workspace / "tiers" / "calm.sql").write_text(CALM)
        ask(open_workspace(self.workspace), signals=SIGNALS)

    @property
    def incoming(self) -> Path:
        return self.folder / "incoming"

    @property
    def workspace(self) -> Path:
        return self.folder / "workspace"

    @property
    def site(self) -> Path:
        return self.folder / "site"

    @property
    def environment(self) -> dict[str, str]:
        return {"PYTHONPATH": os.pathsep.join([str(self.site), str(ROOT)])}

    @property
    def running(self) -> Up:
        assert self.up is not None
        return self.up

    def signals_are(self, told: dict[str, dict[str, float]]) -> None:
        """From the next run on."""
        (self.site / "week.json").write_text(json.dumps(told))

    def begin(self) -> None:
        self.up = Up(self.workspace, self.incoming)

    def footage(self, name: str, seconds: float = 3.0) -> None:
        """Comes whole, as a file that is moved in does."""
        make_talk(self.folder / name, seconds, center_x=140 + 10 * len(list(self.incoming.iterdir())))
        shutil.move(self.folder / name, self.incoming / name)

    def runs(self, deployment: str) -> list[dict[str, Any]]:
        found = self.running.api(f"deployments/name/{deployment}")
        asked = {"flow_runs": {"deployment_id": {"any_": [found["id"]]}}, "sort": "START_TIME_DESC"}
        return [r for r in self.running.api("flow_runs/filter", asked) if r["state_type"] != "SCHEDULED"]

    def taken_in(self, num: int) -> dict[str, Any]:
        """The latest of the watch's runs, once `num` of them have ended."""
        done = wait(
            lambda: (r := [x for x in self.runs("curate/ingest-watch") if x["end_time"]]) and len(r) >= num and r
        )
        return dict(done[0])

    def night_begins(self, budget_s: float = BUDGET_S) -> str:
        nightly = self.running.api("deployments/name/reprocess/nightly")
        told = {"parameters": {"workspace": str(self.workspace), "budget_s": budget_s}}
        return str(self.running.api(f"deployments/{nightly['id']}/create_flow_run", told)["id"])

    def night_ends(self, run_id: str) -> dict[str, Any]:
        return dict(wait(lambda: ended(self.running, run_id), 600))

    def night(self, budget_s: float = BUDGET_S) -> dict[str, Any]:
        return self.night_ends(self.night_begins(budget_s))

    def computing(self, run_id: str) -> None:
        """Waits until a run has a task that computes signals of clips."""
        asked = {"task_runs": {"flow_run_id": {"any_": [run_id]}, "state": {"type": {"any_": ["RUNNING"]}}}}
        wait(
            lambda: [
                t for t in self.running.api("task_runs/filter", asked) if t["name"].startswith(("signals", "motion"))
            ]
        )

    def process_of(self, run_id: str) -> psutil.Process:
        for process in psutil.Process(self.running.process.pid).children(recursive=True):
            if process.environ().get("PREFECT__FLOW_RUN_ID") == run_id:
                return process
        raise AssertionError(f"no process of run {run_id}")

    def status(self) -> dict[str, Any]:
        return headroom("status", workspace=self.workspace)

    def tell(self, what: str, run: dict[str, Any], state: str, *has: str) -> None:
        """A line of the proof: the run as the UI's list of runs shows it, and what its name must hold."""
        said = f"{run['state_name']}{': ' + run['state']['message'] if run['state']['message'] else ''}"
        told = f"{run['name']} {said}"
        wrong = [f"{what}: {run['state_type']}, not {state}"] if run["state_type"] != state else []
        wrong += [f"{what}: {word!r} is not in {told!r}" for word in has if word not in told]
        self.wrong += wrong
        self.lines.append(f"| {what} | {run['name'].replace('|', '/')} | {said[:300].replace('|', '/')} |")

    def open_tasks(self) -> int:
        """Tasks that the UI shows as running."""
        return int(
            self.running.api("task_runs/count", {"task_runs": {"state": {"type": {"any_": ["RUNNING", "PENDING"]}}}})
        )

    def must(self, held: bool, what: str) -> None:
        self.wrong += [] if held else [what]


def play(made: Week) -> None:
    """Seven days and nights: what comes in by day, and the nightly run after it."""
    made.footage("monday.mp4")
    made.footage("monday_too.mp4", 2.6)
    made.begin()
    made.tell("day 1: two videos", made.taken_in(1), "COMPLETED", "2 videos")
    made.tell("night 1: nothing is left to do", made.night(), "COMPLETED", "nothing to compute")

    made.signals_are({"phash": {"raises_above_frames": 85}})
    made.footage("long.mp4", 4.0)
    (made.incoming / "broken.mp4").write_bytes(b"no video at all")
    made.tell(
        "day 2: one on which a signal raises, one that is broken",
        made.taken_in(2),
        "COMPLETED",
        "1 failed",
        "1 put aside",
    )
    made.footage("wednesday.mp4", 2.8)
    made.taken_in(3)
    made.tell("night 2: nothing is left to do", made.night(), "COMPLETED", "nothing to compute")

    slow: dict[str, dict[str, float]] = {"phash": {"raises_above_frames": 85}, "motion": {"newer": 1, "wait_s": 8}}
    made.signals_are(slow)
    made.tell("night 3: a new version of motion, more than the night allows", made.night(3), "COMPLETED", "out of time")
    told = made.status()
    made.must(0 < told["backlog"]["rows"] < 4, f"the backlog after night 3 is {told['backlog']}")
    made.must(any(c["signal"] == "motion" for c in told["candidates"]), "motion rolls out after night 3")

    run_id = made.night_begins()
    made.computing(run_id)
    made.process_of(run_id).send_signal(signal.SIGKILL)
    made.tell("night 4: its process is killed", made.night_ends(run_id), "CRASHED")

    run_id = made.night_begins()
    made.computing(run_id)
    made.must(made.running.stop(signal.SIGKILL) == [], "nothing outlives a headroom up that was killed")
    made.begin()
    made.tell(
        "night 5: headroom up is killed and started again", made.night_ends(run_id), "CRASHED", "headroom up ended"
    )

    made.signals_are({"phash": {"newer": 1}, "motion": {"newer": 1}})
    made.tell("night 6: the rest of motion, and phash mended", made.night(), "COMPLETED", "computed")
    made.must(made.open_tasks() == 0, "a task of a run that was cut off is shown as running")
    cut = [r["name"] for r in made.runs("reprocess/nightly") if r["state_type"] == "CRASHED"]
    made.must(len(cut) == 2 and all(n.endswith(TOLD) for n in cut), f"the names of what was cut off: {cut}")
    told = made.status()
    made.must(not told["backlog"]["rows"] and not told["candidates"], "nothing is late after night 6")
    made.must(not any(s["failed"] for s in told["signals"].values()), "nothing has failed after night 6")

    headroom("signal", "rollback", "motion", workspace=made.workspace)
    made.signals_are({"phash": {"newer": 1}})
    headroom("forget", "monday.mp4", "--yes", workspace=made.workspace)
    made.tell("night 7: motion is rolled back, a video erased", made.night(), "COMPLETED")
    told = made.status()
    made.must(
        told["videos"]["done"] == 3 and not told["backlog"]["rows"],
        f"the week ends with {told['videos']} and {told['backlog']}",
    )
    made.wrong += doubled(open_workspace(made.workspace))


def week(folder: Path, sample: bool) -> tuple[bool, str]:
    """Seven nights of a `headroom up`, one after another: each run's name and state say what came of it, and the workspace ends whole."""
    made = Week(folder / "week")
    with environment(made.environment):
        try:
            play(made)
        finally:
            if made.up and made.up.process.poll() is None:
                made.must(made.up.stop() == [], "nothing outlives headroom up")
    head = f"What was not as it must be: {'; '.join(made.wrong) or 'nothing'}.\n\n| what happened | the run's name | its state |\n|---|---|---|\n"
    return not made.wrong, head + "\n".join(made.lines)


def main(arguments: Sequence[str]) -> None:
    folder = Path(arguments[0] if arguments else tempfile.mkdtemp(prefix="week-"))
    made = Week(folder)
    with environment(made.environment):
        try:
            play(made)
            print("\n".join(made.lines), *made.wrong, f"{made.running.url}  Ctrl-C ends it", sep="\n", flush=True)
            while True:
                time.sleep(1)
        except KeyboardInterrupt:
            pass
        finally:
            if made.up:
                made.up.stop()


if __name__ == "__main__":
    main(sys.argv[1:])
