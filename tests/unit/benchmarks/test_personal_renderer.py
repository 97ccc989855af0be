"""The curve of personal renderers: what is learnt from lies right before what is judged, and each length has its row."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmarks.personal_renderer import HELD_S, footage_before, grown, table
from flows import renderer as steps
from modeling.recipes.renderer import renderer
from store import registry
from store.workspace import open_workspace
from tasks import freeze
from tests.unit.modeling.spoken_corpus import fill_spoken
from tests.unit.modeling.spoken_motion import made_clip


def test_footage_is_counted_back_from_the_held_out_end() -> None:
    first, last = made_clip("a", "p", 4.0), made_clip("b", "p", 6.0)
    held = round(HELD_S * 25)
    assert footage_before([first, last], 2) == [(last, 150 - held - 50, 150 - held)]
    assert footage_before([first, last], 7) == [(first, 100 - 175 + 150 - held, 100), (last, 0, 150 - held)]
    assert footage_before([first, last], 8) is None
    assert footage_before([made_clip("c", "p", 2.0)], 1) is None, "nothing is before the end"


def test_each_length_has_a_row_of_people_that_the_checkpoint_did_not_learn_from(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    place = open_workspace(tmp_path / "ws")
    fill_spoken(place)
    work = steps.prepare(place, renderer("renderer_tiny", num_steps=1), str(freeze.build(place, "spoken")["snapshot"]))
    net = steps.train(work, lambda done: None)
    found = registry.load(place, steps.publish(place, work, net, steps.evaluate(work, net))["id"])
    small = {"num_steps": 1, "save_every": 1, "batch_size": 1, "plates_per_clip": 1}
    told = grown(place, found, "spoken", [1.0, 1.4, 9.0], small)
    strangers = {c.who for c in work.data.clips} - set(found.told["data"]["people"]["train"])
    assert list(told["seconds"]) == ["1", "1.4"], "nobody has nine seconds"
    for row in told["seconds"].values():
        assert set(row["people"]) == strangers
        for kind in ("avatar", "portrait"):
            assert set(row[kind]) == {"ours", "general", "warp"}
            assert len(row[kind]["general"]["mouth_psnr"]) == len(strangers)
    assert table(told).count("\n") == 1 + 4
    assert f"| 1 s, portrait | {len(strangers)} |" in table(told)
    with pytest.raises(ValueError, match=r"nobody in tier spoken whom .* did not learn from has 11.5 s"):
        grown(place, found, "spoken", [9.0], small)
