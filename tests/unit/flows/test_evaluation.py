"""What an evaluation says of each clip goes back to the store, and works there like any other signal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from dashboards.tier_facts import tier_facts
from flows import evaluation
from flows import train as steps
from flows.evaluation import run_evaluate
from modeling.motion_metrics import mean_motion, rms_to_mouth
from modeling.motion_rows import NUMBERS, TEXTS, clip_rows
from modeling.recipes.audio_to_motion import recipe
from store import registry
from store.workspace import Workspace, open_workspace
from tasks import freeze, scores
from tasks import tier as tiers
from tasks.trace import trace
from tests.unit.modeling.spoken_corpus import fill_spoken
from tests.unit.modeling.spoken_motion import made_clip, made_clips

TINY, SIGNAL = "audio_to_motion_tiny", "eval_audio_to_motion_tiny"
WELL = f"""SELECT clip_id FROM signals WHERE {SIGNAL}_lip_distance >= 0 AND {SIGNAL}_held_out = 'people'
           -- source: those whom no training saw"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    made = open_workspace(tmp_path_factory.mktemp("evaluated") / "ws")
    fill_spoken(made)
    (made.settings.workspace / "tiers" / "well.sql").write_text(WELL)
    return made


@pytest.fixture(scope="module")
def told(place: Workspace) -> dict[str, Any]:
    made = recipe(TINY, num_steps=3, held_time_least_s=3.0)
    work = steps.prepare(place, made, str(freeze.build(place, "spoken")["snapshot"]))
    net = steps.train(work, lambda done: None)
    metrics, beside = steps.evaluate(work, net)
    told = steps.publish(place, work, net, metrics, beside)
    steps.tell_clips(place, work, net, told, beside)
    return told


def rows_in(place: Workspace) -> dict[str, dict[str, Any]]:
    columns = ", ".join(f"{SIGNAL}_{c} AS {c}" for c in (*TEXTS, *NUMBERS, "status", "fingerprint"))
    with place.views() as reader:
        rows = reader.sql(f"SELECT clip_id, {columns} FROM signals WHERE {SIGNAL}_status IS NOT NULL").to_dicts()
    return {row["clip_id"]: row for row in rows}


def test_tiers_funnel_and_explain_read_how_a_network_did(
    place: Workspace, told: dict[str, Any], quick_sql: None
) -> None:
    judged, rows = told["metrics"], rows_in(place)
    people = {c: r for c, r in rows.items() if r["held_out"] == "people"}
    assert sorted(people) == told["data"]["clips"]["held_people"]
    assert sorted(set(rows) - set(people)) == told["data"]["clips"]["train"], "of these the ends were held out"
    for part, of in (("held_people", people), ("held_time", {c: r for c, r in rows.items() if c not in people})):
        for measure in ("lip_distance", "lip_velocity_distance", "correlation", "correlation_jaw_open"):
            mean = np.mean([r[measure] for r in of.values()])
            assert mean == pytest.approx(judged[part]["measures"]["ours"][measure]["value"], abs=2e-4)
        ahead = judged[part]["ahead"]["rms_to_mouth"]["correlation"]["value"]
        assert np.mean([r["ahead_of_rms_to_mouth_correlation"] for r in of.values()]) == pytest.approx(ahead, abs=2e-4)
        opened = judged[part]["silence"]["after_voice_open"]["value"]
        assert np.mean([r["after_voice_open"] for r in of.values()]) == pytest.approx(opened, abs=2e-4)
    assert {r["checkpoint"] for r in rows.values()} == {told["id"]}

    assert tiers.members(place, "well")["clip_id"].to_list() == sorted(people)
    funnel = tiers.funnel(place, "well")
    assert [(c["alone"], c["nulls"]) for c in funnel] == [(len(rows), 6 - len(rows)), (len(people), 6 - len(rows))]
    clip = next(iter(people))
    assert tiers.explain(place, clip, "well")[0]["values"] == {f"{SIGNAL}_lip_distance": people[clip]["lip_distance"]}
    with place.views() as reader:
        shown = {t.name: t for t in tier_facts(place, reader, tiers.guarded(place))}["well"]
    assert (shown.problem, sorted(shown.clip_ids)) == ("", sorted(people)), "the report shows the tier"
    built = freeze.build(place, "well")
    header = freeze._loaded(place, {"uri": built["path"]}).header
    assert header["fingerprints"] == {SIGNAL: evaluation.fingerprint_of(told["id"])}


def test_measures_of_pictures_are_refused_where_nothing_is_drawn(place: Workspace, told: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"--with is of a renderer, checkpoint {told['id']} draws nothing"):
        run_evaluate(place.settings.workspace, told["id"], measures=["lpips=x"])


def test_told_again_nothing_is_written(place: Workspace, told: dict[str, Any]) -> None:
    before = place.ledger.manifest()
    anew = run_evaluate(place.settings.workspace, told["id"])
    assert anew["signal"] == SIGNAL
    assert place.ledger.manifest() == before


def test_cut_off_anywhere_it_is_made_up_by_the_next_call(
    place: Workspace, told: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = registry.load(place, told["id"])
    other = registry.publish(place, found.weights, {**found.told, "note": "another"})

    def cut(*given: Any) -> None:
        raise KeyboardInterrupt

    for place_of_it, what in ((scores, "list_signal"), (evaluation, "put_scores")):
        monkeypatch.setattr(place_of_it, what, cut)
        with pytest.raises(KeyboardInterrupt):
            run_evaluate(place.settings.workspace, other.id)
        monkeypatch.undo()
        assert registry.evaluation(place, other.id, told["snapshot"]["id"]) is None
    # The same training again finds its checkpoint, and that nobody was told how it did.
    monkeypatch.setattr(steps, "trained_before", lambda *given: other)
    again = steps.run_train(place.settings.workspace, TINY, snapshot=told["snapshot"]["id"])
    assert (again["id"], again["did"]) == (other.id, "nothing")
    rows = rows_in(place)
    assert {r["checkpoint"] for r in rows.values()} == {other.id}
    assert {r["fingerprint"] for r in rows.values()} == {evaluation.fingerprint_of(other.id)}
    assert tiers.adopted(place) == {SIGNAL: evaluation.fingerprint_of(other.id)}
    assert registry.evaluation(place, other.id, told["snapshot"]["id"]) is not None
    run_evaluate(place.settings.workspace, told["id"])


def test_it_is_traced_from_clip_to_checkpoint_and_back(place: Workspace, told: dict[str, Any]) -> None:
    run_evaluate(place.settings.workspace, told["id"])
    clip = told["data"]["clips"]["held_people"][0]
    below = trace(place, f"v{clip[1]}.mp4").to_dict()["children"]
    signal = next(
        n for c in below if c["kind"] == "clip" for n in c["children"] if n["kind"] == "signal" and n["id"] == SIGNAL
    )
    assert (signal["checkpoint"], signal["status"], signal["current"]) == (told["id"], "ok", True)
    assert trace(place, told["id"]).to_dict()["evaluated"] == SIGNAL


def test_scores_of_another_checkpoint_take_their_place_and_of_the_same_stand_beside(place: Workspace) -> None:
    columns = {"checkpoint": pa.string(), "far": pa.float64()}

    def put(fingerprint: str, rows: Mapping[str, float | None]) -> tuple[int, dict[str, Any]]:
        told = {c: {"checkpoint": fingerprint, "far": far} for c, far in rows.items()}
        written = scores.put_scores(place, "eval", fingerprint, columns, told)
        with place.views() as reader:
            query = "SELECT clip_id, eval_far FROM signals WHERE eval_status IS NOT NULL"
            return written, dict(reader.sql(query).iter_rows())

    assert put("one", {"ca": 1.0, "cb": 2.0, "nowhere": 3.0}) == (2, {"ca": 1.0, "cb": 2.0})
    assert put("one", {"cc": 3.0, "ca": 1.0}) == (1, {"ca": 1.0, "cb": 2.0, "cc": 3.0})
    assert put("two", {"cb": 4.0}) == (3, {"cb": 4.0})
    with place.views() as reader:
        left = reader.sql(f"SELECT count({SIGNAL}_status) FROM signals").item()
    assert left, "a signal whose name begins alike keeps its rows"


def test_a_mouth_that_stands_still_has_no_lag_and_one_that_is_late_has() -> None:
    clip = made_clip("a", "p", seconds=6.0)
    true = clip.motion.values[:, :4]
    beside = {"mean_motion": mean_motion(made_clips(2)), "rms_to_mouth": rms_to_mouth(made_clips(2))}

    def late(sound: np.ndarray) -> np.ndarray:
        made = np.roll(true, 3, axis=0)
        made[:3] = 0
        num = len(sound) // 640
        return np.concatenate([made, np.zeros((max(0, num - len(made)), 4))])[:num]

    row = clip_rows({"ours": late, **beside}, [clip], "people", "x")["a"]
    assert row["lag_ms"] == pytest.approx(120, abs=1)
    still = clip_rows({"ours": lambda sound: np.zeros((len(sound) // 640, 4)), **beside}, [clip], "time", "x")["a"]
    assert (still["lag_ms"], still["correlation"], still["after_voice_quiver"]) == (None, 0.0, 0.0)
    exact = clip_rows({"ours": lambda sound: true[: len(sound) // 640], **beside}, [clip], "time", "x")["a"]
    assert exact["lip_distance"] == 0.0
    assert exact["ahead_of_mean_motion_lip_distance"] > 0
    short = clip_rows({"ours": late, **beside}, [clip.cut(0, 20)], "time", "x")["a"]
    assert short["lag_ms"] is None
