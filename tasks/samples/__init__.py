"""Sample footage for `make demo`, made on the spot from files that published packages carry.

`python -m tasks.samples FOLDER` writes the files, `NAME.rights.json` beside each, and `manifest.jsonl`. A made file
says so in its name, its manifest line and its container's comment. The second call finds all in place and ends.

| file | what it shows | what becomes of it |
|---|---|---|
| made_talker_1.mp4 | a portrait that talks, 25 fps | clips, sound and lips in step |
| made_talker_2.mp4 | the same person closer, mirrored, other light and words, 30 fps | clips, in step |
| made_talker_1_sound_late.mp4 | sound 7 frames late | out of the strictest tier: lip_sync |
| made_talker_1_captions.mp4 | caption and channel name | out: overlay_text |
| made_talker_2_frozen.mp4 | a picture that stands still after half a second | rejected: prefilter |
| made_talker_2_silent.mp4 | an audio track of zeros | out: no speech |
| made_two_scenes.mp4 | a hard cut at frame 125 | clips on both sides, none across |
| made_talker_1_cut_short.mp4 | 60 % of a file | quarantined: can't be decoded |
| made_talker_2_blurred.mp4 | 120 px, blurred, starved of bits | out: visual_quality |
| made_talker_1_noisy.mp4 | noise as loud as the voice | out: speech_quality |
| made_talker_2_borders.mp4 | upright, black above and below | clips, borders cropped |
| made_talker_1_reencoded.mp4 | the first once more, smaller | clips, a near-duplicate |
| made_slide_show.mp4 | slides under voices | rejected: prefilter; no face either |
| real_woman_near_silent.mp4 | a face, hardly a sound | out: no speech |
| real_face_then_cartoon.mov | a face for 2.4 s, then a cartoon | out: no speech |
| real_carphone_no_sound.mp4 | a talking man of 176 px, no audio track | out: no audio |
| real_street_with_cuts.mp4 | a street, several cuts | rejected: no face |
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from tasks.samples import carriers
from tasks.samples.catalogue import CATALOGUE, Sample

__all__ = ["CATALOGUE", "Sample", "make_samples"]

MANIFEST = "manifest.jsonl"


def make_samples(out_dir: Path, before_each: Callable[[str], object] = lambda told: None) -> list[Sample]:
    """Makes what is not there yet, and lists all; `before_each` is told such as "3 of 17: made_talker_2.mp4".

    Killed at any moment, the next call goes on where it stopped.

    Raises ValueError when a package that carries footage is missing.
    """
    recipe = _recipe()
    standing = _standing(out_dir, recipe)
    wanted = [(sample, make) for sample, make in CATALOGUE if sample.file not in standing]
    if wanted:
        for carried in carriers.ALL:
            carried.path()
        out_dir.mkdir(parents=True, exist_ok=True)
    for number, (sample, make) in enumerate(wanted, 1):
        before_each(f"{number} of {len(wanted)}: {sample.file}")
        with tempfile.TemporaryDirectory(dir=out_dir, prefix=".making-") as scratch:
            made = Path(scratch) / sample.file
            make(out_dir, made)
            _replace(out_dir / f"{sample.file}.rights.json", json.dumps(sample.rights(), indent=1) + "\n")
            num_bytes = made.stat().st_size
            os.replace(made, out_dir / sample.file)
        standing[sample.file] = {**asdict(sample), "num_bytes": num_bytes, "recipe": recipe}
        lines = [standing[s.file] for s, _ in CATALOGUE if s.file in standing]
        _replace(out_dir / MANIFEST, "".join(json.dumps(line) + "\n" for line in lines))
    return [sample for sample, _ in CATALOGUE]


def _recipe() -> str:
    """Hash of this package's source, which names the carriers' files by sha256: another recipe, another footage."""
    sources = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"\0".join(s.read_bytes() for s in sources)).hexdigest()[:16]


def _standing(out_dir: Path, recipe: str) -> dict[str, dict[str, object]]:
    """Manifest lines of the files that are in place, whole and of this recipe."""
    manifest = out_dir / MANIFEST
    if not manifest.exists():
        return {}
    lines = {line["file"]: line for line in map(json.loads, manifest.read_text().splitlines())}
    for file in lines.keys() - {sample.file for sample, _ in CATALOGUE}:  # of an older version
        (out_dir / file).unlink(missing_ok=True)
        (out_dir / f"{file}.rights.json").unlink(missing_ok=True)
    return {
        file: line
        for file, line in lines.items()
        if line["recipe"] == recipe
        and (out_dir / f"{file}.rights.json").exists()
        and (out_dir / file).exists()
        and (out_dir / file).stat().st_size == line["num_bytes"]
    }


def _replace(target: Path, text: str) -> None:
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".making-") as scratch:
        made = Path(scratch) / target.name
        made.write_text(text)
        os.replace(made, target)
