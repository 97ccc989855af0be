"""Who speaks when: how many speakers a clip has, and the turns of each."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from tasks import speaker_encoder, speaker_turns
from tasks.media.media import Media
from tasks.signal import GRID_FPS, Column, Look, Needs, NotApplicable, Output, Signal
from tasks.speaker_turns import Turn

SPEECH_PROB = 0.5
MIN_SPEECH_S = 1.0
WINDOW_HOP_S = 0.4
"""Between windows of 1.6 s that tell the speakers apart: four of them share sound."""
TURN_WINDOW_STEPS, TURN_HOP_STEPS = 100, 16
"""Steps of 10 ms. Shorter windows say more exactly when the speaker changes; of 0.8, 1.0 and 1.2 s, turns that are
spliced prefer the first and a lively talk the last."""
SWITCH_COST = 0.1
MAX_PAUSE_FRAMES = 5

SIGNAL = Signal(
    grain="clip",
    version=2,
    columns=(
        Column("num_speakers", pa.int16(), "count", "voices told apart; of two at once, only one is heard", 1, 100),
        Column("num_turns", pa.int32(), "count", "turns; pauses of up to 0.2 s do not end one", 1, 1000),
        Column("main_speaker_ratio", pa.float32(), "ratio", "share of the speech by who speaks most", 0, 1, 4),
        Column("speech_s", pa.float32(), "s", "length of speech in the clip", 0, 60.1, 2),
        Column(
            "likeness",
            pa.float32(),
            "score",
            "mean cosine of voice windows across the most unlike halves of the clip's speech; one person's from 0.70 "
            "on, and 1 where it is too short to be halved",
            -1,
            1,
            4,
        ),
    ),
    timeline=(
        Column("start_s", pa.float32(), "s", "start of the turn, from the clip's start", 0, 61, 3),
        Column("end_s", pa.float32(), "s", "end of the turn", 0, 61, 3),
        Column("speaker", pa.int16(), "index", "who speaks: 0 is who speaks first, within this clip", 0, 100),
    ),
    needs=("vad",),
    look=Look(audio=True),
    cost_cpu_s=0.042,
    weights=(speaker_encoder.WEIGHTS,),
    params={
        "speech_prob": SPEECH_PROB,
        "min_speech_s": MIN_SPEECH_S,
        "window_hop_s": WINDOW_HOP_S,
        "turn_steps": (TURN_WINDOW_STEPS, TURN_HOP_STEPS),
        "switch_cost": SWITCH_COST,
        "max_pause_frames": MAX_PAUSE_FRAMES,
        "same_voice": speaker_turns.SAME_VOICE,
        "mixture": speaker_turns.MIXTURE,
        "min_speaker_windows": speaker_turns.MIN_SPEAKER_WINDOWS,
    },
    backend="ge2e_bisection",
    summary="Speakers and their turns: speech by Silero VAD, GE2E voice embeddings split in two while the halves differ.",
    source="Wan et al., Generalized End-to-End Loss for Speaker Verification, ICASSP 2018; the splitting is our own.",
)


def compute(media: Media, needs: Needs) -> Output:
    """Raises NotApplicable: no audio, under 1 s of speech."""
    if media.audio is None:
        raise NotApplicable("no audio")
    speaks = needs["vad"]["speech_prob"].to_numpy() >= SPEECH_PROB
    voice = speaker_encoder.spoken(media.audio, speaks)
    if len(voice) < MIN_SPEECH_S * media.audio_hz:
        raise NotApplicable("under 1 s of speech")
    speaker_T, likeness = who_speaks(voice, speaks)
    turns = speaker_turns.turns_of(speaker_T, MAX_PAUSE_FRAMES)
    spoken_frames = np.bincount(speaker_T[speaker_T >= 0])
    return Output(
        row={
            "num_speakers": int((spoken_frames > 0).sum()),
            "num_turns": len(turns),
            "main_speaker_ratio": float(spoken_frames.max() / spoken_frames.sum()),
            "speech_s": float(speaks.sum() / GRID_FPS),
            "likeness": likeness,
        },
        timeline=_timeline(turns, media.start_frame),
    )


def who_speaks(voice: np.ndarray, speaks: np.ndarray) -> tuple[np.ndarray, float]:
    """The speaker of each frame of the clip (-1 where nobody speaks), and the likeness across the first split.

    `voice` is the speech alone; its windows run on across pauses, so that short answers have a window too.
    """
    embedded_ND = speaker_encoder.embed_windows(voice, WINDOW_HOP_S)
    labels_N, likeness = speaker_turns.clusters(embedded_ND, round(speaker_encoder.WINDOW_S / WINDOW_HOP_S))
    speaker_T = np.full(len(speaks), -1)
    spoken = np.flatnonzero(speaks)[: len(voice) // speaker_encoder.SAMPLES_PER_FRAME]
    speaker_T[spoken] = 0
    if labels_N.max() > 0:
        centres_KD = speaker_turns.centroids(embedded_ND, labels_N, labels_N.max() + 1)
        path = speaker_turns.decoded(_turn_windows(voice) @ centres_KD.T, SWITCH_COST)
        steps_a_frame = speaker_encoder.AUDIO_HZ // GRID_FPS // speaker_encoder.STEP_SAMPLES
        middle_steps = np.arange(len(spoken)) * steps_a_frame + steps_a_frame // 2
        speaker_T[spoken] = speaker_turns.in_order(path[np.minimum(middle_steps // TURN_HOP_STEPS, len(path) - 1)])
    return speaker_T, likeness


def _turn_windows(voice: np.ndarray) -> np.ndarray:
    """Embeddings of windows of 1 s around every 160 ms of the speech, float32 (N, 256); the ends are mirrored."""
    half = TURN_WINDOW_STEPS // 2
    mel_TM = np.pad(speaker_encoder.mel_power(speaker_encoder.levelled(voice)), ((half, half), (0, 0)), "reflect")
    starts = range(0, len(mel_TM) - TURN_WINDOW_STEPS, TURN_HOP_STEPS)
    return speaker_encoder.encode(np.stack([mel_TM[s : s + TURN_WINDOW_STEPS] for s in starts]))


def _timeline(turns: list[Turn], start_frame: int) -> pa.Table:
    return pa.table(
        {
            "frame": pa.array([start_frame + t.start for t in turns], pa.int32()),
            "start_s": pa.array([t.start / GRID_FPS for t in turns], pa.float32()),
            "end_s": pa.array([t.end / GRID_FPS for t in turns], pa.float32()),
            "speaker": pa.array([t.speaker for t in turns], pa.int16()),
        }
    )
