"""The styles that are drawn for training only, each by itself, and what wears the scenes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from modeling.scenes import KINDS, SIZES, scene
from modeling.scenes.decks import DECKS
from modeling.scenes.inked import comic, cut_paper, ink_drawing, portrait
from modeling.scenes.played import duel, dungeon, overlaid, table, town
from modeling.scenes.rendered import Ball, World, field_game, film, traced
from modeling.scenes.stage import SHOWN, Stage
from modeling.scenes.wear import worn
from modeling.scenes.windows import WINDOWS, palette

Drawn = Callable[[Stage], Iterator[np.ndarray]]
FILMS: list[Drawn] = [comic, cut_paper, ink_drawing, portrait, dungeon, duel, table, town, field_game, film]
SIZE = (320, 180)


def photos() -> list[np.ndarray]:
    y, x = np.mgrid[:90, :160]
    return [np.stack([x, y, 255 - x], axis=-1).astype(np.uint8)]


def stage(seed: int, *, held_out: bool = False, size: tuple[int, int] = SIZE) -> Stage:
    return Stage(np.random.default_rng(seed), *size, photos(), held_out)


def fits(frames: list[np.ndarray], size: tuple[int, int] = SIZE) -> bool:
    return len(frames) == len(SHOWN) and all(f.dtype == np.uint8 and f.shape == (size[1], size[0], 3) for f in frames)


@pytest.mark.parametrize("draw", FILMS, ids=lambda d: d.__name__)
@pytest.mark.parametrize("size", [SIZE, (180, 320)])
def test_each_game_and_cartoon_is_drawn_and_moves(draw: Drawn, size: tuple[int, int]) -> None:
    made = [list(draw(stage(seed, size=size))) for seed in range(3)]
    assert all(fits(frames, size) for frames in made)
    assert all(frames[0].std() > 5 for frames in made)
    assert any(not np.array_equal(a, b) for frames in made for a, b in pairwise(frames))
    assert not np.array_equal(made[0][0], made[1][0])


@pytest.mark.parametrize("draw", sorted(set(WINDOWS), key=lambda d: d.__name__), ids=lambda d: d.__name__)
def test_each_program_is_drawn_and_is_worked_with(draw: Any) -> None:
    """Some scenes stand; of a dozen one must move. An upright one is drawn too."""

    def made(seed: int, size: tuple[int, int]) -> list[np.ndarray]:
        here = stage(seed, size=size)
        frames = list(draw(here, palette(here)))
        assert fits(frames, size)
        assert frames[0].std() > 3
        return frames

    made(0, (224, 320))
    assert any(not np.array_equal(a, b) for seed in range(12) for a, b in pairwise(made(seed, (480, 270))))


@pytest.mark.parametrize("body", sorted(set(DECKS), key=lambda d: d.__name__), ids=lambda d: d.__name__)
def test_each_body_of_a_slide_writes_on_it(body: Any) -> None:
    here = stage(1)
    image = here.canvas((255, 255, 255))
    body(here, image, (20, 20, 20), (40, 160, 90))
    assert (image != 255).any(axis=2).mean() > 0.01


def test_games_are_written_over_and_their_counters_run() -> None:
    plain = [np.full((180, 320, 3), 90, np.uint8) for _ in SHOWN]
    made = [list(overlaid(stage(seed), iter(plain))) for seed in range(8)]
    assert all(fits(frames) for frames in made)
    changed = [float(np.mean([(f != 90).any(axis=2).mean() for f in frames])) for frames in made]
    assert max(changed) > 0.03
    assert max(changed) < 0.6
    assert all((frame == 90).all() for frame in plain)


def bare(**changes: Any) -> World:
    ground = np.full((8, 8, 3), 100.0)
    given: dict[str, Any] = {"ground": ground, "tile_m": 4.0, "sun": np.array([0.0, 1.0, 0.0]), "haze_m": 1e9}
    return World(**given | {"sky": (np.array([0.0, 0, 250]),) * 2} | changes)


def test_a_ball_hides_what_is_behind_it_and_shades_the_ground_below() -> None:
    near = Ball(np.array([0.0, 1.0, 4.0]), np.full(3, 0.5), np.array([250.0, 0, 0]), shine=0.0)
    far = Ball(np.array([0.0, 1.0, 8.0]), np.full(3, 0.9), np.array([0.0, 250, 0]), shine=0.0)
    here, eye = stage(0), np.array([0.0, 1.0, 0.0])
    empty = traced(here, bare(), [], eye, 0.0, 0.0, 1.0).astype(int)
    both = traced(here, bare(), [far, near], eye, 0.0, 0.0, 1.0).astype(int)
    assert empty[20, 160].tolist() == [0, 0, 250]
    assert empty[170, 160] == pytest.approx(100, abs=1)
    assert both[90, 160, 0] > 30
    assert both[90, 160, 1] < 10
    # The near ball's shadow lies at 4 m, which a level view from 1 m shows a quarter of the height below the middle.
    assert both[135, 160].mean() < 0.6 * empty[135, 160].mean()
    assert both[170, 20].mean() == pytest.approx(empty[170, 20].mean(), abs=1)


def test_haze_takes_the_ground_far_away() -> None:
    eye = np.array([0.0, 1.0, 0.0])
    made = traced(stage(0), bare(haze_m=3.0), [], eye, 0.0, 0.0, 1.0).astype(int)
    assert made[95, 160, 2] > 240
    assert made[175, 160, 2] < 220


def test_colours_of_scenes_to_train_on_come_from_photographs_too() -> None:
    own = {tuple(int(v) for v in p) for p in photos()[0].reshape(-1, 3)}
    share = {h: np.mean([stage(s, held_out=h).colour() in own for s in range(300)]) for h in (False, True)}
    assert 0.35 < share[False] < 0.65
    assert share[True] < 0.05
    assert all(60 <= v < 70 for s in range(50) for v in stage(s).colour(60, 70))


@pytest.mark.parametrize("kind", KINDS)
def test_held_out_scenes_are_neither_worn_nor_in_a_style_to_train_on(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They judge: they stay what they were when training is widened."""
    seen: list[bool] = []
    pick = Stage.pick

    def watched(self: Stage, train: Any, held_out: Any) -> Any:
        seen.append(self.held_out)
        return pick(self, train, held_out)

    monkeypatch.setattr(Stage, "pick", watched)
    made = scene(kind, 7, photos(), held_out=True)
    assert all(seen)
    rng = np.random.default_rng([7, list(KINDS).index(kind), 1])
    width, height = SIZES[int(rng.integers(len(SIZES)))]
    drawn = list(KINDS[kind](Stage(rng, width, height, photos(), True)))
    assert all(np.array_equal(a, b) for a, b in zip(made, drawn, strict=True))


def test_wear_changes_all_frames_of_a_scene_alike_and_writes_only_where_it_may() -> None:
    y, x = np.mgrid[:120, :160]
    frame = np.stack([x, y, (x + y) // 2], axis=-1).astype(np.uint8)
    changed = 0
    for seed in range(40):
        made = worn(stage(seed), [frame, frame], graphics=False)
        assert all(f.shape == frame.shape and f.dtype == np.uint8 for f in made)
        assert np.array_equal(made[0], made[1])
        changed += not np.array_equal(made[0], frame)
    assert 15 < changed < 40
    plain = np.full((120, 160, 3), 128, np.uint8)
    ends = {g: [worn(stage(s), [plain], graphics=g)[0][..., 0] for s in range(60)] for g in (False, True)}
    marked = {g: sum(int(np.ptp(f[f > 0])) > 3 for f in of) for g, of in ends.items()}
    assert marked[False] == 0
    assert 3 < marked[True] < 30
    assert (frame == np.stack([x, y, (x + y) // 2], axis=-1)).all()
