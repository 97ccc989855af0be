"""How sure labels are: the posterior beside them, in the record too, and what a reviewer should look at again."""

from __future__ import annotations

import random
from typing import Any

import lance
import pyarrow as pa
import pytest

from store import annotation_items, annotation_outbox, annotation_work, schema
from store.workspace import Workspace
from tasks import freeze
from tasks.annotation import answers, batches, confidence, delivery
from tasks.annotation.delivery import deliver
from tests.annotators import Crew, clips, rated
from tests.unit.tasks.annotation.conftest import NONE, TEETH, answered, commit_clips, read, shown
from tests.unit.tasks.annotation.conftest import clip as clip_row

BODY = answers.DEFAULTS
PAIRS = {"task_type": "pairwise", "body": {"dimensions": [{"name": "sync", "label": "Sync"}]}}


def votes(told: list[tuple[int, int, Any]], purpose: str = "label") -> list[dict[str, Any]]:
    return [{"item_id": i, "person_id": p, "purpose": purpose, "value": v} for i, p, v in told]


def likert_of(points: dict[int, list[tuple[int, int]]]) -> list[dict[str, Any]]:
    return votes([(i, p, rated(v)) for i, given in points.items() for p, v in given])


def test_a_label_of_the_careless_is_doubted_and_one_of_the_careful_is_not() -> None:
    """Five people; two of them guess. The two who guess agree by chance on the last item, the careful on the one before."""
    rng = random.Random(1)
    told = []
    for item in range(1, 61):
        truth = rng.choice(("left", "right"))
        for person in rng.sample(range(1, 6), 3):
            told.append((item, person, {"sync": truth if person <= 3 else rng.choice(("left", "right"))}))
    told += [(61, p, {"sync": "left"}) for p in (1, 2)] + [(62, p, {"sync": "left"}) for p in (4, 5)]
    labels = [{"item_id": i, "value": {"sync": "left"}, "how": "consensus", "state": "done"} for i in (61, 62)]
    sure = confidence.of_labels(PAIRS, votes(told), labels)
    assert sure[61]["sync"].confidence > 0.98
    assert sure[62]["sync"].confidence < 0.85
    assert sure == confidence.of_labels(PAIRS, votes(told), labels), "the same answers, the same figures"
    held = [{**x, "value": {"sync": "right"}} for x in labels]
    other = confidence.of_labels(PAIRS, votes(told), held)
    assert (other[61]["sync"].likeliest, other[61]["sync"].differs) == ("left", True)
    assert other[61]["sync"].confidence < 0.02
    looked = confidence.to_look_at([*held, {**held[0], "item_id": 99}], other)
    assert looked[0]["item_id"] == 61
    for settled in ({"how": "adjudicated"}, {"state": "review"}):
        assert confidence.to_look_at([{**held[0], **settled}], other) == []


def test_too_few_answers_tell_nothing() -> None:
    points = {i: [(1, 4), (2, 4)] for i in range(1, confidence.MIN_COMPARED)}
    labels = [{"item_id": i, "value": rated(4)} for i in points]
    given = {"task_type": "likert", "body": BODY["likert"]}
    assert confidence.of_labels(given, likert_of(points), labels) == {}
    alone = {i: [(1, 4)] for i in range(100, 200)}
    assert confidence.of_labels(given, likert_of({**points, **alone}), labels) == {}, "one answer compares nothing"
    points[confidence.MIN_COMPARED] = [(1, 3), (2, 3)]
    sure = confidence.of_labels(given, likert_of(points), [*labels, {"item_id": 999, "value": rated(1)}])
    assert set(sure) == set(range(1, confidence.MIN_COMPARED))


def test_a_rating_between_two_grades_is_as_sure_as_both_together() -> None:
    points = {i: [(1, 1 + i % 5), (2, 1 + i % 5)] for i in range(1, 80)}
    points[80] = [(1, 3), (2, 4)]
    given = {"task_type": "likert", "body": BODY["likert"]}

    def of(value: float) -> confidence.Sure:
        label = {"item_id": 80, "value": dict.fromkeys(rated(1), value)}
        return confidence.of_labels(given, likert_of(points), [label])[80]["visual_quality"]

    between, low, high = of(3.5), of(3), of(4)
    assert between.confidence == pytest.approx(low.confidence + high.confidence, abs=1e-3)
    assert between.confidence > 0.95
    assert not between.differs
    assert of(1).differs


def test_flags_are_told_by_kind_and_several_choices_together() -> None:
    both = [{"kind": "teeth", "start_s": 0.0, "end_s": 1.0, "box": None}]
    told = [(i, p, {"flags": both if i % 3 == 0 else []}) for i in range(1, 60) for p in (1, 2)]
    given = {"task_type": "flags", "body": BODY["flags"]}
    sure = confidence.of_labels(given, votes(told), [{"item_id": 3, "value": {"flags": []}}])[3]
    assert set(sure) == {k["name"] for k in BODY["flags"]["kinds"]}
    assert (sure["teeth"].likeliest, sure["teeth"].differs) == (True, True)
    assert sure["identity_drift"].confidence > 0.9

    def look(i: int) -> dict[str, Any]:
        nods = [{"label": "nod", "start_s": 0.0, "end_s": 1.0}] if i % 2 else []
        return {"gaze": "camera", "emotion": "sad", "speaking_style": ["calm"] if i % 3 else [], "gesture": nods}

    told = [(i, p, look(i)) for i in range(1, 60) for p in (1, 2)]
    given = {"task_type": "attributes", "body": BODY["attributes"]}
    sure = confidence.of_labels(
        given, votes(told), [{"item_id": 1, "value": {**look(1), "speaking_style": ["lively"]}}]
    )[1]
    assert sure["speaking_style"].likeliest == ["calm"]
    assert sure["speaking_style"].confidence < 0.05
    assert (sure["gesture"].likeliest, sure["gesture"].differs) == (["nod"], False)
    assert sure["gaze"].confidence > 0.95


def test_reviewers_are_one_rater_whose_word_counts_like_anothers() -> None:
    points = {i: [(1, 1 + i % 5), (2, 1 + i % 5)] for i in range(1, 60)}
    points[60] = [(1, 2), (2, 5)]
    reviews = [*votes([(60, 7, rated(5))], "review"), *votes([(59, 8, rated(5))], "review")]
    given = {"task_type": "likert", "body": BODY["likert"]}
    all_ = sorted([*likert_of(points), *reviews], key=lambda v: v["item_id"])
    sure = confidence.of_labels(given, all_, [{"item_id": 60, "value": rated(5)}])
    without = confidence.of_labels(given, likert_of(points), [{"item_id": 60, "value": rated(5)}])
    assert sure[60]["lip_sync"].confidence > 0.8 > without[60]["lip_sync"].confidence


def workplace(crew: Crew, num: int = 24) -> tuple[int, list[dict[str, Any]]]:
    """A batch of pairs of answers to flags: of all items one is seen otherwise by who is seldom wrong."""
    task = crew.schema("flags")
    people = [crew.person(f"p{i}") for i in range(2)]
    batch = crew.batch(task, clips(num), name="work", overlap=2, max_raters=2)
    for person in people:
        crew.ready(person, task)
        crew.work(person, lambda held: TEETH if int(held["media"][0]["clip_id"][1:]) % 2 else NONE)
    return batch, people


def test_what_is_doubted_goes_to_a_reviewer_once_and_people_decide(plain_crew: Crew) -> None:
    batch, _ = workplace(plain_crew)
    labels = plain_crew.database.read(lambda c: annotation_work.labels_of(c, batch))
    ids = [x["item_id"] for x in labels]
    other = plain_crew.batch(plain_crew.schema("likert"), clips(1), name="other")
    assert plain_crew.database.write(lambda c: annotation_items.send_to_review(c, other, ids)) == [], (
        "they are of another"
    )

    def sent(c: Any) -> list[int]:
        return batches.send_to_review(c, plain_crew.boss, batch, ids[:2], 1.0)

    assert plain_crew.database.write(sent) == ids[:2]
    with pytest.raises(ValueError, match="none of these waits to be looked at again"):
        plain_crew.database.write(sent)
    still = {x["item_id"]: x for x in plain_crew.database.read(lambda c: annotation_work.labels_of(c, batch))}
    assert still[ids[0]]["value"] == labels[0]["value"], "until then the raters' label stands"
    reviewer = plain_crew.person("r", "reviewer")
    assert plain_crew.work(reviewer, {"flags": []}) == ["review", "review"]
    after = {x["item_id"]: x for x in plain_crew.database.read(lambda c: annotation_work.labels_of(c, batch))}
    assert {after[i]["how"] for i in ids[:2]} == {"adjudicated"}
    assert {after[i]["how"] for i in ids[2:]} == {"consensus"}
    with pytest.raises(ValueError, match="none of these waits"):
        plain_crew.database.write(sent)
    scored = plain_crew.database.read(lambda c: annotation_work.scores_of(c, 2, ("audit",)))
    assert scored == [], (
        "who is looked at for a doubt is not audited by it: such items are no fair sample of a person's"
    )
    plain_crew.database.write(lambda c: annotation_work.update_batch(c, batch, state="closed"))
    with pytest.raises(ValueError, match="is closed, and reviewers get nothing of it; open it first"):
        plain_crew.database.write(lambda c: batches.send_to_review(c, plain_crew.boss, batch, ids[2:], 1.0))


def media(num: int) -> list[tuple[str, str, int, int]]:
    return [(f"k{i}", f"v{i}", 0, 100) for i in range(num)]


def says(held: dict[str, Any]) -> dict[str, Any]:
    return TEETH if int(held["media"][0]["clip_id"][1:]) % 2 else NONE


def test_tiers_read_how_sure_a_label_is(workspace: Workspace, crew: Crew) -> None:
    commit_clips(workspace, *(clip_row(*m) for m in media(40)))
    answered(crew, "flags", shown(*media(40)), says, says)
    deliver(workspace, crew.database)
    told = read(workspace, "SELECT clip_id, question, confidence FROM label_values WHERE question = 'teeth'")
    assert len(told) == 40
    assert all(row["confidence"] > 0.9 for row in told)
    (few,) = read(workspace, "SELECT count(*) AS n, min(confidence) AS least FROM labels WHERE confidence > 0.9")
    assert (few["n"], few["least"] > 0.9) == (40, True)
    tier = "SELECT clip_id FROM clips LEFT JOIN labels USING (clip_id) WHERE labels.teeth AND labels.confidence > 0.9"
    (workspace.settings.workspace / "tiers" / "sure.sql").write_text(tier)
    assert freeze.build(workspace, "sure")["clips"] == 20


def test_a_label_goes_again_when_its_confidence_moved_by_a_step_and_not_otherwise(
    workspace: Workspace, crew: Crew, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit_clips(workspace, *(clip_row(*m) for m in media(60)))
    first = answered(crew, "flags", shown(*media(10)), says, says)
    assert deliver(workspace, crew.database).labels == 10
    held = read(workspace, "SELECT DISTINCT confidence FROM label_values")
    assert held == [{"confidence": None}], "ten items don't tell"
    versions = dict_of(crew)
    # Later answers of the batch tell more of who answered the first ten.
    more = [m for _, [m] in shown(*media(60)[10:])]
    crew.database.write(lambda c: annotation_work.add_items(c, [added(first, m) for m in more]))
    for person in crew.database.read(lambda c: sorted({v["person_id"] for v in annotation_items.votes_in(c, first)})):
        crew.work({"person_id": person, "role": "annotator"}, says)
    assert deliver(workspace, crew.database).labels == 60, "fifty new ones, and ten whose confidence is known now"
    assert read(workspace, "SELECT count(*) AS n FROM label_values WHERE confidence IS NULL") == [{"n": 0}]
    assert {k: dict_of(crew)[k] for k in versions} == versions, "the label itself did not change"
    assert deliver(workspace, crew.database).labels == 0
    assert deliver(workspace, crew.database, all_batches=True).labels == 0

    manifest = workspace.ledger.manifest().id
    with monkeypatch.context() as moving:
        moving.setattr(confidence, "SHARED", 6.0)  # moves each by less than a step
        assert deliver(workspace, crew.database, all_batches=True).labels == 0
        assert workspace.ledger.manifest().id == manifest
        moving.setattr(confidence, "MIN_COMPARED", 1000)  # known no more
        assert deliver(workspace, crew.database).labels == 0, "a confidence alone delivers nothing"
        assert deliver(workspace, crew.database, all_batches=True).labels == 60
    assert delivery.deliver_existing(workspace, all_batches=True).labels == 60, "as headroom labels does"
    keys = workspace.record.read(workspace.ledger.manifest(), "labels", ["key"])["key"].to_pylist()
    assert len(keys) == len(set(keys)) == 240


def added(batch: int, clip: dict[str, Any]) -> dict[str, Any]:
    own = {"batch_id": batch, "schema_id": 1, "kind": "work", "state": "open", "uncertainty": 0.0, "audited": False}
    return {**own, "num_wanted": 2, "max_raters": 2, "media": [clip]}


def dict_of(crew: Crew) -> dict[int, int]:
    return {item: version for item, _, version in crew.database.read(annotation_outbox.noted)}


def test_a_record_of_before_has_no_confidence_until_a_label_comes(
    workspace: Workspace, crew: Crew, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit_clips(workspace, *(clip_row(*m) for m in media(30)))
    answered(crew, "flags", shown(*media(30)), says, says)
    before = pa.schema([f for f in schema.LABELS if f.name != "confidence"])
    with monkeypatch.context() as old:
        old.setattr(delivery, "LABELS", before)
        old.setitem(schema.BASE_SCHEMAS, "labels", before)
        old.setattr(delivery, "moved", lambda *given: [])
        assert deliver(workspace, crew.database).labels == 30
    at = workspace.ledger.manifest().versions["labels"]
    assert "confidence" not in lance.dataset(workspace.record.uri("labels"), version=at).schema.names
    told = read(workspace, "SELECT confidence, agreement FROM labels WHERE teeth ORDER BY clip_id")
    assert told == [{"confidence": None, "agreement": 1.0}] * 15
    assert deliver(workspace, crew.database).labels == 0
    assert deliver(workspace, crew.database, all_batches=True).labels == 30
    assert read(workspace, "SELECT count(*) AS n FROM labels WHERE confidence > 0.9") == [{"n": 30}]
