"""Balls and grounds traced by rays, lit by a sun and the sky: figures of rendered films, and games with a ground in depth.

H, W rows and columns of the picture; axes x right, y up, z ahead, in metres; all is drawn at half size and enlarged.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from modeling.scenes.stage import SHOWN, Stage, smooth_noise


@dataclass(frozen=True)
class Ball:
    """An ellipsoid of one colour (RGB 0 to 255); `spots` of its texture a radian, 0 for none, and its depth."""

    centre: np.ndarray
    radii: np.ndarray
    colour: np.ndarray
    spots: float = 0.0
    depth: float = 0.0
    shine: float = 0.2


@dataclass(frozen=True)
class World:
    """What the rays meet beside the balls: a textured ground at y = 0 (T, T, 3), a sky of two colours, a sun, haze."""

    ground: np.ndarray
    tile_m: float
    sky: tuple[np.ndarray, np.ndarray]
    sun: np.ndarray
    haze_m: float


def world(stage: Stage, *, coarse: bool) -> World:
    """Of chance: a coarse one has a ground of few large pixels, as games have."""
    rng, side = stage.rng, 256
    base = np.array(stage.colour(40, 190), np.float32)
    field = smooth_noise(rng, side, side, 9)[..., None] * 12 + smooth_noise(rng, side, side, 60)[..., None] * 9
    ground = base + field * rng.uniform(0.3, 1.6, 3)
    if coarse and rng.random() < 0.5:
        checks = (np.indices((side, side)) // rng.integers(8, 40)).sum(axis=0) % 2
        ground = ground * (0.75 + 0.25 * checks[..., None])
    if coarse:
        ground = np.kron(ground[::8, ::8], np.ones((8, 8, 1)))
    sun = np.array([rng.uniform(-0.8, 0.8), rng.uniform(0.5, 1.0), rng.uniform(-0.9, 0.1)])
    sky = (np.array(stage.colour(110, 256), float), np.array(stage.colour(40, 230), float))
    return World(ground, rng.uniform(4, 14), sky, sun / np.linalg.norm(sun), rng.uniform(8, 60))


def traced(
    stage: Stage, seen: World, balls: list[Ball], eye: np.ndarray, pitch: float, yaw: float, zoom: float
) -> np.ndarray:
    """uint8 (H, W, 3) of the world and the balls from `eye`; pitch and yaw in radians, zoom in heights per unit."""
    import cv2

    high, wide = stage.height_px // 2, stage.width_px // 2
    v, u = np.mgrid[:high, :wide]
    x, y = (u - wide / 2) / high / zoom, (high / 2 - v) / high / zoom
    y, z = y * np.cos(pitch) - np.sin(pitch), np.cos(pitch) + y * np.sin(pitch)
    x, z = x * np.cos(yaw) + z * np.sin(yaw), z * np.cos(yaw) - x * np.sin(yaw)
    way = np.stack([x, y, z], axis=-1)
    way /= np.linalg.norm(way, axis=-1, keepdims=True)
    colour = _sky(seen, way)
    with np.errstate(divide="ignore"):
        far = np.where(way[..., 1] < -1e-3, -eye[1] / way[..., 1], np.inf)
    here = np.isfinite(far)
    spot = eye + way[here] * far[here][:, None]
    side = len(seen.ground)
    at = ((spot[:, [0, 2]] / seen.tile_m) % 1 * side).astype(int) % side
    lit = 0.45 + 0.55 * seen.sun[1] * (1 - _shaded(spot, seen.sun, balls))
    fog = np.exp(-far[here] / seen.haze_m)[:, None]
    colour[here] = seen.ground[at[:, 0], at[:, 1]] * lit[:, None] * fog + colour[here] * (1 - fog)
    for ball in balls:
        _draw(colour, far, eye, way, seen, ball)
    image = np.clip(colour, 0, 255).astype(np.uint8)
    return np.asarray(cv2.resize(image, (stage.width_px, stage.height_px), interpolation=cv2.INTER_CUBIC))


def _sky(seen: World, way: np.ndarray) -> np.ndarray:
    share = np.clip(way[..., 1:2] * 1.6, 0, 1)
    return np.asarray(seen.sky[0] * (1 - share) + seen.sky[1] * share)


def _shaded(spots: np.ndarray, sun: np.ndarray, balls: list[Ball]) -> np.ndarray:
    """0 to 1: how much of the sun the balls keep from each spot (N, 3), soft at the edges."""
    dark = np.zeros(len(spots))
    for ball in balls:
        from_centre, toward = (spots - ball.centre) / ball.radii, sun / ball.radii
        near = -(from_centre @ toward) / (toward @ toward)
        miss = np.linalg.norm(from_centre + near[:, None] * toward, axis=1)
        dark = np.maximum(dark, np.clip((1.15 - miss) / 0.3, 0, 1) * (near > 0))
    return dark


def _draw(colour: np.ndarray, far: np.ndarray, eye: np.ndarray, way: np.ndarray, seen: World, ball: Ball) -> None:
    """The ball into the colours (H, W, 3) and distances (H, W), where it is nearer than what is there."""
    from_centre, toward = (eye - ball.centre) / ball.radii, way / ball.radii
    a, b = (toward**2).sum(axis=-1), toward @ from_centre
    inside = b**2 - a * (from_centre @ from_centre - 1)
    reach = np.where(inside > 0, (-b - np.sqrt(np.maximum(inside, 0))) / a, np.inf)
    here = (reach > 0.05) & (reach < far)
    if not here.any():
        return
    local = from_centre + reach[here][:, None] * toward[here]
    normal = local / ball.radii
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    spots = np.sin(ball.spots * local[:, 0] * 3) * np.sin(ball.spots * local[:, 1] * 3 + local[:, 2] * 2)
    rough = 1 + ball.depth * spots
    sun = np.clip(normal @ seen.sun, 0, 1)
    bounce = 0.5 + 0.5 * normal[:, 1]
    rim = (1 - np.abs((normal * way[here]).sum(axis=1))) ** 3
    shade = (0.3 * bounce + 0.75 * sun) * rough + 0.25 * rim
    glint = 255 * ball.shine * np.clip((normal * (seen.sun - way[here]) / 1.9).sum(axis=1), 0, 1) ** 30
    colour[here] = ball.colour * shade[:, None] + glint[:, None]
    far[here] = reach[here]


def creature(stage: Stage, at: np.ndarray, size: float, pose: float, tones: np.ndarray) -> list[Ball]:
    """A figure of balls: body, head, eyes, arms, legs; `pose` swings its limbs and turns its eyes."""

    def ball(x: float, y: float, z: float, r: tuple[float, float, float], k: int, shine: float = 0.15) -> Ball:
        centre = at + size * np.array([x, y, z])
        return Ball(centre, size * np.array(r), tones[k], 4 + 3 * k, 0.08, shine)

    swing = 0.15 * np.sin(pose)
    made = [
        ball(0, 0.55, 0, (0.34, 0.42, 0.3), 0),
        ball(0, 1.25, 0, (0.36, 0.38, 0.34), 1),
        ball(0, 1.55, 0.05, (0.32, 0.2, 0.3), 2),
        ball(0, 1.18, -0.34, (0.07, 0.06, 0.08), 2),
    ]
    for side in (-1, 1):
        made.append(ball(0.42 * side, 0.6 + swing * side, -0.05, (0.1, 0.34, 0.1), 0))
        made.append(ball(0.18 * side, 0.12, swing * side, (0.13, 0.2, 0.2), 2))
        white = Ball(at + size * np.array([0.15 * side, 1.3, -0.27]), size * np.full(3, 0.11), np.full(3, 250.0))
        dark = np.array([0.15 * side + 0.03 * np.sin(pose), 1.3, -0.365])
        made += [white, Ball(at + size * dark, size * np.full(3, 0.045), np.full(3, 20.0), shine=0.8)]
    return made


def film(stage: Stage) -> Iterator[np.ndarray]:
    """One to three figures on a ground with bushes, near or far; the camera may drift."""
    rng, seen = stage.rng, world(stage, coarse=False)
    near = rng.random() < 0.5
    num = 1 if near else int(rng.integers(1, 4))
    places = [np.array([(k - (num - 1) / 2) * 1.3 + rng.normal(0, 0.1), 0, rng.uniform(0, 1.0)]) for k in range(num)]
    beat = rng.uniform(0.5, 2)
    tones = np.array([[stage.colour(40, 245) for _ in range(3)] for _ in range(num)], float)
    bushes = [
        Ball(
            np.array([rng.uniform(-9, 9), rng.uniform(-0.2, 0.6), rng.uniform(3, 14)]),
            rng.uniform(0.4, 1.8, 3),
            np.array(stage.colour(40, 190), float),
            rng.uniform(3, 12),
            rng.uniform(0.05, 0.3),
            0.0,
        )
        for _ in range(int(rng.integers(3, 12)))
    ]
    eye = np.array([rng.normal(0, 0.3), rng.uniform(0.9, 1.6), -rng.uniform(1.5, 2.2) if near else -rng.uniform(3, 6)])
    drift = rng.normal(0, 0.03, 3) * (rng.random() < 0.5)
    for i in SHOWN:
        balls = list(bushes)
        for k, place in enumerate(places):
            hop = np.array([0, 0.12 * abs(np.sin(i * 0.6 + k)), 0])
            balls += creature(stage, place + hop, 1.0, i * beat + k, tones[k])
        yield traced(stage, seen, balls, eye + drift * i, 0.05, 0.0, 1.1)


def field_game(stage: Stage) -> Iterator[np.ndarray]:
    """A figure seen from behind on a ground of coarse pixels that passes under it, with balls and trees to meet."""
    rng, seen = stage.rng, world(stage, coarse=True)
    speed, yaw, turn = rng.uniform(0.2, 1.2), rng.uniform(-3, 3), rng.normal(0, 0.05)
    behind = rng.random() < 0.6
    tones = np.array([stage.colour(40, 245) for _ in range(3)], float)
    things = []
    for _ in range(int(rng.integers(6, 24))):
        place = rng.uniform(-14, 14, 2)
        trunk, crown = np.array(stage.colour(40, 120), float), np.array(stage.colour(30, 230), float)
        if rng.random() < 0.6:
            things.append(Ball(np.array([place[0], 0.7, place[1]]), np.array([0.15, 0.9, 0.15]), trunk, shine=0.0))
        things.append(Ball(np.array([place[0], 1.8, place[1]]), rng.uniform(0.5, 1.3, 3), crown, 5.0, 0.2, 0.0))
    for i in SHOWN:
        heading = yaw + turn * i
        ahead = np.array([np.sin(heading), 0, np.cos(heading)])
        eye = ahead * speed * i * 0.2 + np.array([0, 2.0, 0])
        balls = list(things)
        if behind:
            balls += creature(stage, (eye + ahead * 3.2) * (1, 0, 1), 0.9, i * 1.4, tones)
        yield traced(stage, seen, balls, eye, 0.25, heading, 1.0)
