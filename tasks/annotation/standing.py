"""What hidden gold and audits say of a person: who stays qualified for a schema, and who begins calibration anew."""

from __future__ import annotations

from typing import Any

from store import annotation_people, annotation_work
from store import annotation_queue as queue
from tasks.annotation import calibration

KINDS = ("gold", "audit")


def checks(c: Any, person_id: int, schema_id: int, since: float) -> list[tuple[float, dict[str, float]]]:
    """(when, scores by question) of the latest checks since the person qualified, oldest first; what was before counts no
    more, and neither does a check on which nobody raised a flag."""
    found = annotation_work.scores_of(c, person_id, KINDS, schema_id=schema_id, since=since)
    return [(s["at"], s["by_question"]) for s in found if s["by_question"]][-calibration.WINDOW :]


def check(c: Any, person_id: int, schema_id: int, now: float) -> None:
    """Sends a person whose hidden gold and audits are too low back to calibration; what was leased goes back, and what was
    answered since they qualified, or since the first of these checks, is set aside and asked of others."""
    had = _held(c, person_id, schema_id)
    recent = checks(c, person_id, schema_id, had["changed_at"])
    if had["stage"] != calibration.QUALIFIED or not calibration.must_pause([scores for _, scores in recent]):
        return
    why = f"paused: the last {len(recent)} hidden checks are surely under {calibration.PASS_MEAN}"
    told = failed(had["failures"], had["round"], why)
    annotation_work.put_qualification(c, person_id, schema_id, **told, changed_at=now)
    for held in queue.held(c, person_id, now):
        if held["schema_id"] == schema_id:
            queue.release(c, held["id"])
    since = recent[0][0] if len(recent) == calibration.WINDOW else had["changed_at"]
    num = queue.set_answers_aside(c, person_id, schema_id, since, why, now)
    annotation_people.log(c, now, None, "pause", f"person {person_id}", schema=schema_id, why=why, set_aside=num)


def failed(failures: int, round_: int, why: str) -> dict[str, Any]:
    stage = calibration.after_failure(failures + 1)
    return {"stage": stage, "round": round_ + 1, "failures": failures + 1, "why": why}


def _held(c: Any, person_id: int, schema_id: int) -> dict[str, Any]:
    had = annotation_work.qualification(c, person_id, schema_id)
    return had or {"stage": calibration.QUALIFIED, "round": 0, "failures": 0, "changed_at": 0.0}
