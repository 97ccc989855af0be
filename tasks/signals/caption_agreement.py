"""Whether a clip's captions tell the truth: their claims against the signals, and the caption against the picture."""

from __future__ import annotations

import pyarrow as pa

from tasks.backend import Backend
from tasks.caption_check import MIN_TEXT_MATCH, verdicts
from tasks.caption_facts import EVIDENCE, facts_of
from tasks.media.media import Media
from tasks.signal import Column, Look, Needs, NotApplicable, Output, Resources, Signal

SIGNAL = Signal(
    grain="clip",
    version=2,
    columns=(
        Column(
            "agreement",
            pa.float32(),
            "ratio",
            "share of the claims that can be checked that hold; template captions are made of the same signals, so "
            "theirs is 1 unless the templates err: it tells of captions by models and people",
            0,
            1,
            4,
        ),
        Column(
            "num_claims", pa.int16(), "count", "claims that can be checked: people, speech, language, text ...", 1, 99
        ),
        Column("num_contradicted", pa.int16(), "count", "those that a signal contradicts", 0, 99),
        Column("contradicted", pa.string(), "text", "which, as name=value; empty when all hold"),
        Column(
            "video_match",
            pa.float32(),
            "score",
            "nullable: that caption and frames belong together, by a joint model; NULL by default: no permissively "
            "licensed one comes in a package",
            0,
            1,
            4,
        ),
    ),
    needs=("caption", "faces", *EVIDENCE),
    optional=EVIDENCE,
    cost_cpu_s=0.0005,
    params={"min_text_match": MIN_TEXT_MATCH},
    backend="claims_against_signals",
    summary="Claims found in a clip's captions by patterns, each checked against the signals.",
    source="Checks of single facts as in Min et al., FActScore, EMNLP 2023, with patterns in place of a model.",
)
BACKENDS = {
    "siglip": Backend(
        run="tasks.backends.siglip:caption_agreement",
        model="google/siglip2-base-patch16-224",
        licence="Apache-2.0",
        source="Zhai et al., Sigmoid Loss for Language Image Pre-Training, ICCV 2023.",
        changes={"look": Look(frames_fps=1), "resources": Resources(gpu_gib=2.0)},
    ),
}


def compute(media: Media, needs: Needs) -> Output:
    """Raises NotApplicable for captions without a claim that a signal can check."""
    captions = [needs["caption"][length] for length in ("short", "medium", "long")]
    found = verdicts(captions, facts_of(needs, media, media.start_frame, media.end_frame))
    checked = [v for v in found if v.holds is not None]
    if not checked:
        raise NotApplicable("the captions state nothing that can be checked")
    wrong = [v for v in checked if not v.holds]
    return Output(
        row={
            "agreement": 1 - len(wrong) / len(checked),
            "num_claims": len(checked),
            "num_contradicted": len(wrong),
            "contradicted": ", ".join(f"{v.name}={v.claimed}" for v in wrong),
            "video_match": None,
        }
    )
