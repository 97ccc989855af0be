"""Voice activity and loudness on every frame: what tells speech from silence for all signals of sound."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from infra import weights
from tasks.media.media import Media
from tasks.networks import per_process
from tasks.signal import GRID_FPS, Column, Look, Needs, NotApplicable, Output, Signal

STEP_SAMPLES = 512
CONTEXT_SAMPLES = 64
SAMPLES_PER_FRAME = 16_000 // GRID_FPS
SILENCE_DB = -100.0

SIGNAL = Signal(
    grain="video",
    version=1,
    timeline=(
        Column("speech_prob", pa.float32(), "score", "probability that somebody speaks during the frame", 0, 1, 4),
        Column(
            "loudness_db",
            pa.float32(),
            "dbfs",
            "RMS of the frame's 40 ms against full scale; digital silence is -100",
            SILENCE_DB,
            0.1,
            2,
        ),
    ),
    look=Look(audio=True),
    cost_cpu_s=0.002,
    weights=("silero_vad",),
    backend="silero_vad_6",
    summary="Speech probability and loudness at 25 rows a second.",
    source="Silero Team, Silero VAD, 2024: https://github.com/snakers4/silero-vad",
)


def compute(media: Media, needs: Needs) -> Output:
    """Raises NotApplicable for a video without sound."""
    if media.audio is None:
        raise NotApplicable("no audio")
    num_frames = media.end_frame - media.start_frame
    sound = np.zeros(num_frames * SAMPLES_PER_FRAME, np.float32)
    sound[: len(media.audio)] = media.audio[: len(sound)]
    columns = {
        "frame": pa.array(np.arange(media.start_frame, media.end_frame), pa.int32()),
        "speech_prob": pa.array(_per_frame(_speech_probs(sound), num_frames), pa.float32()),
        "loudness_db": pa.array(_loudness_db(sound), pa.float32()),
    }
    return Output(timeline=pa.table(columns))


@per_process
def _session() -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.enable_cpu_mem_arena = False  # the arena keeps its largest run for ever, a worker holds many models
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(
        str(weights.path("silero_vad")), sess_options=options, providers=["CPUExecutionProvider"]
    )


def _speech_probs(sound: np.ndarray) -> np.ndarray:
    """One probability for each step of 32 ms; each step sees the last 4 ms of the one before."""
    num_steps = -(-len(sound) // STEP_SAMPLES)
    steps = np.zeros((num_steps, CONTEXT_SAMPLES + STEP_SAMPLES), np.float32)
    padded = np.zeros(num_steps * STEP_SAMPLES, np.float32)
    padded[: len(sound)] = sound
    steps[:, CONTEXT_SAMPLES:] = padded.reshape(num_steps, STEP_SAMPLES)
    steps[1:, :CONTEXT_SAMPLES] = steps[:-1, -CONTEXT_SAMPLES:]
    state = np.zeros((1, 1, 128), np.float32)
    probs: np.ndarray = _session().run(["speech_probs"], {"input": steps, "h": state, "c": state})[0]
    return probs


def _per_frame(step_probs: np.ndarray, num_frames: int) -> np.ndarray:
    """Steps of 32 ms onto frames of 40 ms: the mean over the frame, weighted by overlap."""
    edges = np.arange(len(step_probs) + 1) * STEP_SAMPLES
    area = np.concatenate([[0.0], np.cumsum(step_probs * STEP_SAMPLES, dtype=np.float64)])
    at_frames = np.interp(np.arange(num_frames + 1) * SAMPLES_PER_FRAME, edges, area)
    return np.clip(np.diff(at_frames) / SAMPLES_PER_FRAME, 0.0, 1.0)


def _loudness_db(sound: np.ndarray) -> np.ndarray:
    power = np.square(sound.reshape(-1, SAMPLES_PER_FRAME), dtype=np.float64).mean(axis=1)
    return np.asarray(np.clip(10 * np.log10(np.maximum(power, 1e-10)), SILENCE_DB, 0.0))
