"""The labelling screen as annotators will see it, for who designs a schema: nothing is leased, and nothing can be sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi.responses import Response

from dashboards.annotation import labelling, media
from dashboards.annotation.visit import Missing, Visit, json_object
from store import annotation_items, annotation_work
from tasks.annotation import answers, batches, desk

NO_CLIP_S = 5.0
"""Length that the page shows where the workspace has no clip."""


def of_schema(visit: Visit) -> Response:
    """A version that is saved, on a clip of the tier that the address names, else of its newest batch, else any."""
    schema = visit.read(lambda c: annotation_work.schema(c, visit.request.path_params["schema_id"]))
    if schema is None:
        raise Missing
    return _shown(visit, schema, visit.request.query_params.get("tier", ""))


def of_form(visit: Visit) -> Response:
    """What the form says, before it is saved."""
    task_type = str(visit.told.get("task_type", ""))
    try:
        body = json_object(str(visit.told.get("body", "")))
    except ValueError as error:
        raise ValueError(f"the questions are no JSON: {error}") from None
    name = str(visit.told.get("name", "")).strip() or "preview"
    held = [s["version"] for s in visit.read(annotation_work.all_schemas) if s["name"] == name]
    told: dict[str, Any] = {"id": 0, "name": name, "version": max(held, default=0) + 1, "task_type": task_type}
    told["guidelines"] = str(visit.told.get("guidelines", ""))
    return _shown(visit, {**told, "body": answers.checked_body(task_type, body)}, "")


def _shown(visit: Visit, schema: Mapping[str, Any], tier: str) -> Response:
    clips = _clips(visit, schema, tier)
    sides = [media.address(visit.site, media.of_clip(clip["clip_id"]), 0, visit.now) for clip in clips]
    num_sides = 2 if schema["task_type"] == answers.PAIRWISE else 1
    task = {
        "token": f"preview-{schema['id']}-{int(visit.now)}",
        "kind": "label",
        "type": schema["task_type"],
        "schema": {k: schema[k] for k in ("id", "name", "version")},
        "questions": labelling.questions(schema["task_type"], schema["body"]),
        "duration_s": desk.duration_s(clips) or NO_CLIP_S,
        "clips": sides or [""] * num_sides,
    }
    return visit.page("preview.html", task=task, schema=schema, has_clip=bool(sides))


def _clips(visit: Visit, schema: Mapping[str, Any], tier: str) -> Sequence[Mapping[str, Any]]:
    num = 2 if schema["task_type"] == answers.PAIRWISE else 1
    if not tier:
        held = visit.read(lambda c: annotation_items.first_shown(c, schema["name"]))
        there = batches.clips_named(visit.site.workspace, [clip["clip_id"] for clip in held or []])
        if len(there) == num:
            return there
    return batches.some_clips(visit.site.workspace, num, tier)
