"""Writes drawn scenes as videos, those that are not there yet; see modeling/scenes/__init__.py."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from modeling.scenes import JUDGING_SEED, KINDS, SEED_STEP, coded, load_photos, scene
from modeling.scenes.art import load_art


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Draw scenes of each kind.")
    parser.add_argument("photos", type=Path, help="folder of photographs")
    parser.add_argument("out", type=Path)
    parser.add_argument("--num", type=int, default=100, help="scenes of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--held-out", action="store_true", help="styles to judge by instead of those to train on")
    parser.add_argument(
        "--art", type=Path, help="folder of art, for more styles to train on; see modeling/scenes/art.py"
    )
    options = parser.parse_args(argv)
    if options.seed == JUDGING_SEED and not options.held_out:
        parser.error(f"--seed {JUDGING_SEED} is the scorecard's; draw scenes to train on with another")
    art = None if options.art is None else load_art(options.art)
    photos = load_photos(sorted(p for p in options.photos.iterdir() if p.is_file()))
    options.out.mkdir(parents=True, exist_ok=True)
    for number in range(options.num):
        seed = options.seed * SEED_STEP + number
        for kind in KINDS:
            file = options.out / f"{kind}_{options.seed}_{number:04d}.mp4"
            if file.exists():
                continue
            frames = scene(kind, seed, photos, held_out=options.held_out, art=art)
            file.write_bytes(coded(frames, seed))


if __name__ == "__main__":
    main()
