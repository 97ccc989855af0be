"""`headroom annotate rankings`: what people and programs are told of a benchmark of systems."""

from __future__ import annotations

import json
from itertools import combinations
from typing import Any

import pytest

import headroom
from dashboards.annotation import terminal
from store.workspace import Workspace
from tasks.annotation import results
from tests.annotators import Crew, pairs
from tests.unit.tasks.annotation.conftest import A, answered, shown

ORDER = ("best", "fair", "poor")


def benchmark(crew: Crew, num_prompts: int, num_raters: int) -> int:
    """Three systems in every pair over some prompts; raters take the better one, and all say tie of the last dimension."""
    media = []
    for prompt in range(num_prompts):
        for sides in combinations(ORDER, 2):
            told = [{"video_id": "v", "start_frame": 0, "end_frame": 50, "proxy_uri": "p", "system": s} for s in sides]
            media.append((0.0, [{**t, "clip_id": f"{t['system']}{prompt}", "prompt": f"p{prompt}"} for t in told]))

    def better(assignment: dict[str, Any]) -> dict[str, str]:
        side = "right" if assignment["swapped"] else "left"
        return {"identity": side, "expression": side, "sync": "tie"}

    return answered(crew, "pairwise", media, *[better] * num_raters)


def told(workspace: Workspace, capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as end:
        headroom.main(["annotate", "rankings", "--workspace", str(workspace.settings.workspace), *args])
    caught = capsys.readouterr()
    return int(end.value.code or 0), caught.out, caught.err


def test_ranks_stand_only_where_intervals_separate(
    workspace: Workspace, crew: Crew, capsys: pytest.CaptureFixture[str]
) -> None:
    batch = benchmark(crew, num_prompts=40, num_raters=3)
    code, out, _ = told(workspace, capsys, str(batch), "--json")
    found = json.loads(out.splitlines()[-1])["questions"]
    assert code == 0
    assert [(s["system"], s["rank"]) for s in found["identity"]["systems"]] == list(zip(ORDER, (1, 2, 3), strict=True))
    best = found["identity"]["systems"][0]
    assert best["win_rates"] == {"fair": 1.0, "poor": 1.0}
    assert best["low"] < best["elo"] < best["high"]
    assert found["identity"]["systems"][1]["high"] < best["low"]
    assert {k: found["sync"][k] for k in ("num_items", "num_prompts", "num_raters")} == {
        "num_items": 120, "num_prompts": 40, "num_raters": 3,
    }  # fmt: skip
    assert [s["rank"] for s in found["sync"]["systems"]] == [None] * 3
    assert found["sync"]["systems"][0]["not_told_apart"] == ["fair", "poor"]
    _, out, _ = told(workspace, capsys, str(batch))
    identity, sync = out[out.index("identity") : out.index("expression")], out[out.index("sync") :]
    assert "120 items, 40 prompts, 3 raters" in identity
    assert [line.split()[:2] for line in identity.splitlines()[2:5]] == [["1", "best"], ["2", "fair"], ["3", "poor"]]
    assert [line.split()[:2] for line in sync.splitlines()[2:5]] == [["–", name] for name in ORDER]
    assert "no interval separates these systems" in sync


def test_one_rater_or_one_prompt_alone_is_warned_of(
    workspace: Workspace, crew: Crew, capsys: pytest.CaptureFixture[str]
) -> None:
    rater, prompt = "one rater's taste can't be told", "what one prompt shows can't be told"
    for num_prompts, num_raters in ((1, 1), (2, 1), (1, 2), (2, 2)):
        batch = benchmark(crew, num_prompts, num_raters)
        _, out, _ = told(workspace, capsys, str(batch))
        said = " ".join(out.split())
        assert (prompt in said, rater in said) == (num_prompts == 1, num_raters == 1), out


def test_answers_are_counted_in_the_singular_and_the_plural(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.answers_written({"path": "a.csv", "answers": 8, "raters": 1, "rows": 32})
    terminal.answers_written({"path": "a.csv", "answers": 1, "raters": 1, "rows": 1})
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["a.csv: 8 answers of 1 rater, 32 rows", "a.csv: 1 answer of 1 rater, 1 row"]


def test_what_has_no_ranking_says_why(workspace: Workspace, crew: Crew, capsys: pytest.CaptureFixture[str]) -> None:
    answered(crew, "flags", shown(A), {"flags": []})
    pair = [{**clip, "system": system} for clip, system in zip(pairs(1)[0][1], ("a", "b"), strict=True)]
    crew.batch(crew.schema("pairwise"), [(0.0, pair)], name="empty")
    none = "there is no batch 'nope'; there are"
    for name, why in (("nope", none), ("1", "compares no systems"), ("empty", "has no answers yet")):
        code, _, err = told(workspace, capsys, name)
        assert (code != 0, why in err) == (True, True), err


@pytest.mark.usefixtures("either_ledger")
def test_a_workspace_without_annotation_says_so(unasked: Workspace) -> None:
    with pytest.raises(ValueError, match="nobody was asked anything"):
        results.rankings_of(unasked.settings, "1")
