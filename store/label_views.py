"""Human labels as tier SQL sees them: every value of every clip, and one row per clip."""

from __future__ import annotations

RATINGS = {
    "visual_quality": "visual_quality",
    "facial_naturalness": "facial_naturalness",
    "lip_sync_accuracy": "lip_sync",
    "motion_smoothness": "motion_smoothness",
}
"""Columns of `labels`, and the dimension of a likert schema that fills each."""
RATING_POINTS = 5
"""Their scale, whoever rated: a schema of another one gives its dimensions other names."""
BAD_CASES = ("identity_drift", "teeth", "occlusion_glitch", "asymmetric_blink")
ATTRIBUTES = ("gaze", "emotion", "speaking_style", "gesture")

VALUES = """
    SELECT c.clip_id, l.video_id, l.task_type, l.schema, l.schema_version, l.question, l.number, l.text, l.list,
           l.detail, l.num_raters, l.agreement, l.confidence, l.how, l.decided_at, l.other_clip_id, l.item,
           l.start_frame <> c.start_frame OR l.end_frame <> c.end_frame AS inherited
    FROM _labels l JOIN _clips c ON c.video_id = l.video_id
    WHERE c.active AND l.active
      AND 10 * (least(l.end_frame, c.end_frame) - greatest(l.start_frame, c.start_frame))
          >= 9 * (greatest(l.end_frame, c.end_frame) - least(l.start_frame, c.start_frame))"""
"""A label holds for a span of a video: a clip has those whose span it shares at an IoU of at least 0.9."""


def per_clip() -> str:
    """One row per labelled clip. Of several answers to one question a label of this very span goes before one that is
    inherited, a reviewer's before a consensus, a later one before an earlier."""
    rating, flag, attribute = (f"FILTER (task_type = '{t}'" for t in ("likert", "flags", "attributes"))
    told = f"AND number <= {RATING_POINTS}"  # what an earlier schema of more points gave is no rating on this scale
    columns = [f"max(number) {rating} AND question = '{q}' {told}) AS {name}" for name, q in RATINGS.items()]
    columns += [
        f"coalesce(string_agg(question, ', ' ORDER BY question) {flag} AND number = 1), max('') {flag})) AS flags",
        f"CAST(sum(number) {flag}) AS INTEGER) AS num_flags",
    ]
    columns += [f"max(number) {flag} AND question = '{kind}') = 1 AS {kind}" for kind in BAD_CASES]
    columns += [f"max(text) {attribute} AND question = '{name}') AS {name}" for name in ATTRIBUTES]
    columns += [
        "min(num_raters) AS num_raters",
        "min(agreement) AS agreement",
        "min(confidence) AS confidence",
        "max(decided_at) AS decided_at",
        "bool_and(how = 'adjudicated') AS adjudicated",
        "bool_or(inherited) AS inherited",
    ]
    ranked = """SELECT *, row_number() OVER (PARTITION BY clip_id, task_type, question
                ORDER BY inherited, how = 'adjudicated' DESC, decided_at DESC, item) AS place
                FROM label_values WHERE task_type <> 'pairwise'"""
    return f"SELECT clip_id, {', '.join(columns)} FROM ({ranked}) WHERE place = 1 GROUP BY clip_id"


COLUMNS = frozenset(
    {
        "clip_id", *RATINGS, "flags", "num_flags", *BAD_CASES, *ATTRIBUTES, "num_raters", "agreement", "confidence",
        "decided_at", "adjudicated", "inherited",
    }
)  # fmt: skip
