"""What hidden gold and audits say of a person: who stays qualified for a schema, and who begins calibration anew."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from store import annotation_people, annotation_work
from store import annotation_queue as queue
from tasks.annotation import answers, calibration

KINDS = ("gold", "audit")


def checks(c: Any, person_id: int, schema_id: int, since: float) -> list[dict[str, Any]]:
    """Scores of the latest checks since the person qualified, oldest first; what was before counts no more, and neither does
    a check on which nobody raised a flag."""
    found = annotation_work.scores_of(c, person_id, KINDS, schema_id=schema_id, since=since)
    return [s for s in found if s["by_question"]][-calibration.WINDOW :]


def weights(c: Any, task_type: str, scores: Sequence[Mapping[str, Any]]) -> list[float] | None:
    """What each of them weighs; None where all weigh the same."""
    if task_type != answers.FLAGS:
        return None
    held = annotation_work.compared(c, [s["assignment_id"] for s in scores])
    # One whose truth is gone, with a video that was forgotten, weighs what one flag does.
    told = [held[s["assignment_id"]] for s in scores]
    return [answers.weight(task_type, given, truth) if truth else 1.0 for given, truth in told]


def check(c: Any, person_id: int, schema: Mapping[str, Any], now: float) -> None:
    """Sends a person whose hidden gold and audits are too low back to calibration; what was leased goes back, and what was
    answered since they qualified, or since the first of these checks, is set aside and asked of others.

    `schema` has id and task_type.
    """
    schema_id = int(schema["id"])
    had = _held(c, person_id, schema_id)
    recent = checks(c, person_id, schema_id, had["changed_at"])
    by_question = [s["by_question"] for s in recent]
    weighed = weights(c, schema["task_type"], recent)
    if had["stage"] != calibration.QUALIFIED or not calibration.must_pause(by_question, weighed):
        return
    why = f"paused: the last {len(recent)} hidden checks are surely under {calibration.PASS_MEAN}"
    told = failed(had["failures"], had["round"], why)
    annotation_work.put_qualification(c, person_id, schema_id, **told, changed_at=now)
    for held in queue.held(c, person_id, now):
        if held["schema_id"] == schema_id:
            queue.release(c, held["id"])
    since = recent[0]["at"] if len(recent) == calibration.WINDOW else had["changed_at"]
    num = queue.set_answers_aside(c, person_id, schema_id, since, why, now)
    annotation_people.log(c, now, None, "pause", f"person {person_id}", schema=schema_id, why=why, set_aside=num)


def failed(failures: int, round_: int, why: str) -> dict[str, Any]:
    stage = calibration.after_failure(failures + 1)
    return {"stage": stage, "round": round_ + 1, "failures": failures + 1, "why": why}


def _held(c: Any, person_id: int, schema_id: int) -> dict[str, Any]:
    had = annotation_work.qualification(c, person_id, schema_id)
    return had or {"stage": calibration.QUALIFIED, "round": 0, "failures": 0, "changed_at": 0.0}
