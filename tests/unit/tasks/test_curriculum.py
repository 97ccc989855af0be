"""A curriculum's file: what it may say, what is wrong with it, and one hash for all that it stands for."""

from __future__ import annotations

from pathlib import Path

import pytest

from store.workspace import Workspace, open_workspace
from tasks import freeze
from tasks.curriculum import Stage, freeze_curriculum, load_curriculum, read_curriculum
from tests.unit.modeling.conftest import fill

pytestmark = pytest.mark.usefixtures("quick_sql")

TWO = """
[[stage]]
tier = "all_of_it"
epochs = 0.5
max_length_s = 8

[[stage]]
tier = "long"
steps = 400
min_short_side_px = 720
set = { learning_rate = 5e-4 }
"""


@pytest.fixture
def corpus(tmp_path: Path, either_ledger: str) -> Workspace:
    workspace = open_workspace(tmp_path / "corpus")
    fill(workspace)
    (workspace.settings.workspace / "tiers" / "long.sql").write_text("SELECT clip_id FROM clips WHERE duration_s >= 3")
    return workspace


def file(tmp_path: Path, text: str) -> Path:
    (tmp_path / "course.toml").write_text(text)
    return tmp_path / "course.toml"


def test_stages_are_read_in_order(tmp_path: Path) -> None:
    assert read_curriculum(file(tmp_path, TWO)) == (
        Stage("all_of_it", epochs=0.5, max_length_s=8),
        Stage("long", steps=400, min_short_side_px=720, set={"learning_rate": 5e-4}),
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[[stage", "can't be read"),
        ("", r"has no stage; write one or more tables \[\[stage\]\]"),
        ("stage = 3", "has no stage"),
        ("lr = 1\n[[stage]]\ntier = 'a'\nsteps = 1", r"has lr; only \[\[stage\]\] may be there"),
        ("[[stage]]\nsteps = 1", "stage 1: tier is None; give the name of a tier"),
        ("[[stage]]\ntier = 'a'", "stage 1: give steps or epochs, one of them"),
        ("[[stage]]\ntier = 'a'\nsteps = 1\nepochs = 1", "stage 1: give steps or epochs"),
        (
            "[[stage]]\ntier = 'a'\nsteps = 1\n[[stage]]\ntier = 'a'\nsteps = 1.5",
            "stage 2: steps is 1.5; give a whole number",
        ),
        ("[[stage]]\ntier = 'a'\nepochs = -1", "stage 1: epochs is -1; give a number above 0"),
        ("[[stage]]\ntier = 'a'\nsteps = true", "stage 1: steps is True"),
        ("[[stage]]\ntier = 'a'\nsteps = 1\nlearning_rate = 1", r"has learning_rate; .* go into set = \{ ... \}"),
        ("[[stage]]\ntier = 'a'\nsteps = 1\nset = 3", "set is 3; give values of the recipe"),
        ("[[stage]]\ntier = 'a'\nsteps = 1\nset = { x = [1] }", "set is {'x': "),
        (
            "[[stage]]\ntier = 'a'\nsteps = 1\nmin_length_s = 9\nmax_length_s = 2",
            "min_length_s 9 is above max_length_s 2",
        ),
    ],
)
def test_what_can_not_be_meant_is_told_with_the_stage(text: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=told):
        read_curriculum(file(tmp_path, text))


def test_one_hash_stands_for_stages_and_snapshots(corpus: Workspace, tmp_path: Path) -> None:
    stages = read_curriculum(file(tmp_path, TWO))
    made = freeze_curriculum(corpus, stages)
    assert [s["snapshot"]["tier"] for s in made["stages"]] == ["all_of_it", "long"]
    assert made["stages"][1]["snapshot"]["id"] == freeze.build(corpus, "long")["snapshot"]
    assert freeze_curriculum(corpus, stages) == made == load_curriculum(corpus, made["id"])
    other = freeze_curriculum(corpus, read_curriculum(file(tmp_path, TWO.replace("400", "401"))))
    assert other["sha256"] != made["sha256"]
    by_id = freeze_curriculum(corpus, (Stage(made["stages"][1]["snapshot"]["id"], steps=1),))
    assert by_id["stages"][0]["snapshot"] == made["stages"][1]["snapshot"]
    with pytest.raises(ValueError, match="'nowhere': no tier with a snapshot"):
        freeze_curriculum(corpus, (Stage("nowhere", steps=1),))
    kept = Path(corpus.objects.uri(f"curricula/{made['id']}.json"))
    kept.write_text(kept.read_text().replace("400", "4000"))
    with pytest.raises(ValueError, match="was changed; give its file again"):
        load_curriculum(corpus, made["id"])
