"""`headroom up`, for real: a server, a worker, the nightly deployment by the API, and nothing left behind."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.browser import CHROMIUM, chromium
from tests.running_up import Up, ended, wait
from tests.unit.flows.footage import make_talk

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A talking head and a file that is no video, known but not normalised yet; of the signals, motion is wanted."""
    from store.workspace import open_workspace
    from tasks.ingest import ingest
    from tasks.wanted import ask

    folder = tmp_path_factory.mktemp("nightly")
    footage = folder / "footage"
    footage.mkdir()
    make_talk(footage / "left.mp4", center_x=140)
    (footage / "broken.mp4").write_bytes(b"no video at all")
    made = open_workspace(folder / "workspace")
    ingest(made, [str(footage)])
    ask(made, signals=["motion"])
    return folder / "workspace"


@pytest.fixture(scope="module")
def running(workspace: Path) -> Iterator[Up]:
    """For all that only asks it; the last of them stops it."""
    made = Up(workspace)
    yield made
    if made.process.poll() is None:
        made.stop(signal.SIGKILL)


@pytest.fixture(scope="module")
def night(running: Up) -> dict[str, Any]:
    """A run of the nightly deployment that came to its end."""
    nightly = running.api("deployments/name/reprocess/nightly")
    run_id = running.api(f"deployments/{nightly['id']}/create_flow_run", {})["id"]
    run: dict[str, Any] = wait(lambda: ended(running, run_id))
    return run


def test_the_nightly_run_through_server_and_worker(running: Up, night: dict[str, Any]) -> None:
    nightly = running.api("deployments/name/reprocess/nightly")
    assert nightly["schedules"][0]["schedule"]["cron"] == "0 2 * * *"
    query = {"flow_runs": {"deployment_id": {"any_": [nightly["id"]]}, "state": {"type": {"any_": ["SCHEDULED"]}}}}
    nights = wait(lambda: running.api("flow_runs/filter", query), 120)
    assert len({run["expected_start_time"] for run in nights}) == len(nights)

    run_id = night["id"]
    assert (night["state_type"], night["state"]["message"]) == ("COMPLETED", None)
    assert night["name"].startswith("reprocess workspace, ")

    artifacts = running.api("artifacts/filter", {"artifacts": {"flow_run_id": {"any_": [run_id]}}})
    told = {a["key"]: a["data"] for a in artifacts}
    assert {k: v for k, v in told.items() if k.startswith("progress-")} == dict.fromkeys(
        ("progress-normalise", "progress-timelines", "progress-clip", "progress-signals"), 100
    )
    assert "| motion | 1 | 0 | 0 | 1 |" in told["summary"]
    assert "| broken.mp4 | " in told["summary"]
    by_run = {"task_runs": {"flow_run_id": {"any_": [run_id]}}}
    tasks = wait(lambda: (r := running.api("task_runs/filter", by_run)) and len(r) == 6 and r, 60)
    assert {(t["name"], t["state_name"]) for t in tasks} == {
        ("normalise: broken.mp4", "Completed"),
        ("normalise: left.mp4", "Completed"),
        ("timelines: 1 window of left.mp4", "Completed"),
        ("choose clips: left.mp4", "Completed"),
        ("signals: 1 clip of left.mp4", "Completed"),
        (
            "maintain: join the tables' pieces, drop versions older than a day and rows kept for a roll-back for a week",
            "Completed",
        ),
    }
    assert running.api("logs/filter", {"logs": {"flow_run_id": {"any_": [run_id]}}})

    page = httpx.get(running.url, follow_redirects=True, headers={"accept": "text/html"}, timeout=60).raise_for_status()
    assets = re.findall(r'(?:src|href)="([^"]+\.(?:js|css))"', page.text)
    assert assets
    for asset in assets:  # all of them from this machine
        httpx.get(httpx.URL(running.url).join(asset), timeout=60).raise_for_status()
        assert str(httpx.URL(running.url).join(asset)).startswith(running.url)


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_the_ui_shows_a_run_by_its_name_and_what_came_of_it(running: Up, night: dict[str, Any]) -> None:
    asked = {"artifacts": {"flow_run_id": {"any_": [night["id"]]}, "key": {"any_": ["summary"]}}}
    (summary,) = running.api("artifacts/filter", asked)
    with chromium() as made:
        page = made.page()
        page.goto(f"{running.url}/runs")
        page.get_by_role("link", name=night["name"]).first.click(timeout=120_000)
        page.get_by_text("Artifacts", exact=True).last.click(timeout=120_000)
        page.get_by_text(summary["description"]).first.wait_for(timeout=120_000)
        page.goto(f"{running.url}/artifacts/artifact/{summary['id']}")
        page.get_by_role("heading", name="Left to compute").wait_for(timeout=120_000)
        shown = page.inner_text("body")
        assert "Nothing: everything that is asked for is up to date." in shown
        assert page.get_by_role("cell", name="broken.mp4").count() == 1
        assert page.get_by_role("cell", name="motion", exact=True).count() >= 1
        assert "other signals: nobody has asked for them in this workspace." in shown


def test_training_and_deployment_can_be_asked_for_and_ctrl_c_leaves_nothing_behind(
    running: Up, workspace: Path
) -> None:
    asked = {"train": {"snapshot": "0123456789abcdef"}, "deploy": {"checkpoint": "0123456789abcdef"}}
    runs = {}
    for name, parameters in asked.items():
        found = running.api(f"deployments/name/{name}/on-demand")
        runs[name] = running.api(f"deployments/{found['id']}/create_flow_run", {"parameters": parameters})["id"]
    told = {name: wait(lambda run=run: ended(running, run)) for name, run in runs.items()}
    for name, run in told.items():
        assert run["state_type"] == "FAILED", (name, run["state"], run["name"])
        assert "0123456789abcdef" in run["state"]["message"], name
    assert running.stop(signal.SIGINT) == []
    assert running.process.returncode == 0
    assert not (workspace / "prefect" / "server.json").exists()


@pytest.fixture
def watching(workspace: Path, tmp_path: Path) -> Iterator[Up]:
    made = Up(workspace, tmp_path)
    yield made
    if made.process.poll() is None:
        made.stop(signal.SIGKILL)


def test_new_footage_is_taken_in_and_a_kill_leaves_nothing_behind(
    watching: Up, workspace: Path, tmp_path: Path
) -> None:
    assert json.loads((workspace / "prefect" / "server.json").read_text())["url"] == watching.url
    watched = watching.api("deployments/name/curate/ingest-watch")
    assert watched["parameters"]["paths"] == [str(tmp_path)]
    assert len(watching.api("deployments/name/reprocess/nightly")["schedules"]) == 1
    (tmp_path / "no video.mp4").write_bytes(b"no video at all")
    # Begun, not "running": a run over one small file can be over between two looks.
    begun = {"type": {"any_": ["RUNNING", "COMPLETED"]}}
    query = {"flow_runs": {"deployment_id": {"any_": [watched["id"]]}, "state": begun}}
    run_id = wait(lambda: watching.api("flow_runs/filter", query))[0]["id"]
    assert watching.stop(signal.SIGKILL) == []

    again = Up(workspace)
    run = ended(again, run_id)
    assert run
    # Cut off while it ran, unless it was quicker than the kill.
    assert (run["state_type"], run["state"]["message"]) in (
        ("CRASHED", "headroom up ended while this ran"),
        ("COMPLETED", None),
        # What it had asked of the tables was ended a moment before itself, and it had time to say so.
        ("FAILED", "Flow run encountered an exception: RuntimeError: Query interrupted"),
    )
    assert again.stop() == []
    assert again.process.returncode == 0
