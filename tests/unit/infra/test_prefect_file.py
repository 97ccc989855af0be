"""The deployments of a cluster: the flows are there, take these parameters, and run where the images lie."""

from __future__ import annotations

import re
from typing import Any

import yaml

from flows.up import checked_cron
from tests.unit.infra.deployed import INFRA, ROOT, compose, of_kind
from tests.unit.infra.test_images import of

FILE: dict[str, Any] = yaml.safe_load((INFRA / "prefect.yaml").read_text())


def test_every_deployment_starts_a_flow_that_is_there_with_parameters_that_it_takes() -> None:
    from flows import pipeline

    told = {}
    for made in FILE["deployments"]:
        file, _, name = made["entrypoint"].partition(":")
        assert ROOT / file == ROOT / "flows" / "pipeline.py"
        flow = getattr(pipeline, name)
        values = {k: "tcp://x:1" if "{{" in str(v) else v for k, v in made["parameters"].items()}
        values |= {"paths": ["s3://x/"]} if "paths" in values else {}
        flow.validate_parameters(values)
        assert set(values) <= set(flow.parameters.properties)
        told[f"{flow.name}/{made['name']}"] = made
        for schedule in made.get("schedules", []):
            checked_cron(schedule["cron"])
    assert set(told) == {"reprocess/nightly", "curate/ingest", "build_tiers/on-demand"}
    assert told["curate/ingest"]["concurrency_limit"] == {"limit": 1, "collision_strategy": "CANCEL_NEW"}


def test_it_runs_in_the_folder_of_the_image_on_the_pool_of_the_worker() -> None:
    assert (
        of("engine", "WORKDIR")[-1] == FILE["pull"][0]["prefect.deployments.steps.set_working_directory"]["directory"]
    )
    worker = compose()["services"]["prefect-worker"]["command"]
    assert {d["work_pool"]["name"] for d in FILE["deployments"]} == {worker[worker.index("--pool") + 1]}
    wanted = set(re.findall(r"\{\{ \$(\w+) \}\}", (INFRA / "prefect.yaml").read_text()))
    assert wanted == {"HEADROOM_RUNNER", "HEADROOM_SOURCES"}
    assert wanted <= set(compose()["services"]["deployments"]["environment"])
    planning = next(m for m in of_kind("local", "ConfigMap") if m["metadata"]["name"].startswith("planning"))
    assert wanted <= set(planning["data"])
    scheduler = planning["data"]["HEADROOM_RUNNER"]
    assert (
        scheduler
        == compose()["services"]["deployments"]["environment"]["HEADROOM_RUNNER"]
        == "tcp://dask-scheduler:8786"
    )
