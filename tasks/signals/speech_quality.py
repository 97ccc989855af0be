"""How the voice sounds: predicted opinion scores, noise, music, reverberation, clipping, loudness, bandwidth."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from infra import weights
from tasks import room_sound
from tasks.backend import Backend
from tasks.loudness import loudness_lufs
from tasks.media.media import Media
from tasks.networks import per_process
from tasks.signal import Column, Look, Needs, NotApplicable, Output, Resources, Signal

SEGMENT_SAMPLES = 144_160
"""9.01 s, the one length that DNSMOS takes."""
SAMPLES_PER_FRAME = 640
SPEECH_PROB = 0.5
SILENT_PEAK = 2 / 32768
NOISE_QUANTILE = 0.1
SNR_LOW_DB, SNR_HIGH_DB = -10.0, 80.0
CLIPPED = 0.99
BANDWIDTH_DROP_DB = -60.0
FFT_SAMPLES = 512
_SIG = (-0.08397278, 1.22083953, 0.0052439)
_BAK = (-0.13166888, 1.60915514, -0.39604546)
_OVRL = (-0.06766283, 1.11546468, 0.04602535)
"""From the network's scale to listeners' scores: DNSMOS P.835's own polynomials, highest power first."""

SIGNAL = Signal(
    grain="clip",
    version=2,
    columns=(
        Column("sig_mos", pa.float32(), "mos", "DNSMOS P.835: how undistorted the voice is, 1 to 5", 1, 5, 3),
        Column("bak_mos", pa.float32(), "mos", "DNSMOS P.835: how unobtrusive the background is, 1 to 5", 1, 5, 3),
        Column("ovrl_mos", pa.float32(), "mos", "DNSMOS P.835: overall quality, 1 to 5", 1, 5, 3),
        Column(
            "snr_db",
            pa.float32(),
            "db",
            "speech above the steady background: mean power while somebody speaks (all frames, if nobody does) over "
            "the 10th percentile of the frames' power; under-reads above 30 dB in speech without pauses",
            SNR_LOW_DB,
            SNR_HIGH_DB,
            1,
        ),
        Column("clipping_ratio", pa.float32(), "ratio", "share of samples at 99 % of full scale and above", 0, 1, 6),
        Column(
            "loudness_lufs", pa.float32(), "lufs", "integrated loudness, ITU-R BS.1770-4; -70 is the floor", -70, 10, 1
        ),
        Column(
            "bandwidth_hz",
            pa.float32(),
            "hz",
            "highest frequency within 60 dB of the strongest, of at most 8000 (a telephone gives 3400 to 4000)",
            0,
            8000,
            0,
        ),
        Column(
            "music_ratio",
            pa.float32(),
            "ratio",
            "share of the time with music: two partials that hold their pitch for 0.4 s; hum and singing count",
            0,
            1,
            3,
        ),
        Column(
            "decay_s",
            pa.float32(),
            "s",
            "nullable: reverberation: 60 dB decay time of the voice's steepest falls (0.2 dry; 0.5 in a room of RT60 0.6)",
            0,
            6,
            3,
        ),
    ),
    needs=("vad",),
    look=Look(audio=True),
    cost_cpu_s=0.063,
    weights=("dnsmos_p835",),
    params={
        "segments": "ceil(duration / 9.01 s), evenly spread",
        "noise_quantile": NOISE_QUANTILE,
        "clipped": CLIPPED,
        "bandwidth_drop_db": BANDWIDTH_DROP_DB,
        "speech_prob": SPEECH_PROB,
        "room": (room_sound.STEEPEST, room_sound.FALL_WINDOWS, room_sound.TONE_DB, room_sound.TONE_WINDOWS),
    },
    backend="dnsmos_p835",
    summary="Speech quality: DNSMOS P.835, signal-to-noise ratio, music, reverberation, clipping, loudness, bandwidth.",
    source="Reddy et al., DNSMOS P.835, ICASSP 2022; ITU-R BS.1770-4; Ratnam et al., JASA 2003.",
)

BACKENDS = {
    "clap": Backend(
        run="tasks.backends.clap:speech_quality",
        model="laion/clap-htsat-unfused",
        licence="Apache-2.0",
        dtype="float32",
        source="Wu et al., Large-Scale Contrastive Language-Audio Pretraining, ICASSP 2023.",
        changes={"resources": Resources(gpu_gib=2.0)},
    ),
}


def compute(media: Media, needs: Needs) -> Output:
    """Raises NotApplicable: no audio, silent (digital silence)."""
    if media.audio is None:
        raise NotApplicable("no audio")
    audio = media.audio
    if len(audio) == 0 or float(np.abs(audio).max()) < SILENT_PEAK:
        raise NotApplicable("silent")
    sig, bak, ovrl = dnsmos(audio)
    return Output(
        row={
            "sig_mos": sig,
            "bak_mos": bak,
            "ovrl_mos": ovrl,
            "snr_db": snr_db(audio, needs["vad"]["speech_prob"].to_numpy() >= SPEECH_PROB),
            "clipping_ratio": float((np.abs(audio) >= CLIPPED).mean()),
            "loudness_lufs": loudness_lufs(audio, media.audio_hz),
            "bandwidth_hz": bandwidth_hz(audio, media.audio_hz),
            "music_ratio": room_sound.music_ratio(audio),
            "decay_s": room_sound.decay_s(audio),
        }
    )


def dnsmos(audio: np.ndarray) -> tuple[float, float, float]:
    """(speech, background, overall), each 1 to 5: the mean over segments of 9.01 s.

    Sound that is shorter is repeated, as in the published script. Segments lie evenly from start to end and overlap
    only as far as they must; the script's hop of 1 s costs nine times as much and moves the mean by under 0.2.
    """
    if len(audio) < SEGMENT_SAMPLES:
        audio = np.tile(audio, -(-SEGMENT_SAMPLES // len(audio)))[:SEGMENT_SAMPLES]
    num_segments = -(-len(audio) // SEGMENT_SAMPLES)
    starts = np.linspace(0, len(audio) - SEGMENT_SAMPLES, num_segments).astype(int)
    raw = []
    for start in starts:
        segment = np.ascontiguousarray(audio[None, start : start + SEGMENT_SAMPLES], np.float32)
        raw.append(_session().run(None, {"input_1": segment})[0][0])
    raw_S3 = np.array(raw, np.float64)
    scores = [np.polyval(p, raw_S3[:, i]).mean() for i, p in enumerate((_SIG, _BAK, _OVRL))]
    sig, bak, ovrl = (float(np.clip(s, 1, 5)) for s in scores)
    return sig, bak, ovrl


def snr_db(audio: np.ndarray, speaks: np.ndarray) -> float:
    """Signal-to-noise ratio in dB, -10 to 80, of frames of 40 ms."""
    num = min(len(audio) // SAMPLES_PER_FRAME, len(speaks))
    power = np.square(audio[: num * SAMPLES_PER_FRAME].reshape(num, -1), dtype=np.float64).mean(axis=1)
    noise = max(float(np.quantile(power, NOISE_QUANTILE)), 1e-10)
    spoken = power[speaks[:num]] if speaks[:num].any() else power
    above = max(float(spoken.mean()) - noise, 1e-9 * noise)
    return float(np.clip(10 * np.log10(above / noise), SNR_LOW_DB, SNR_HIGH_DB))


def bandwidth_hz(audio: np.ndarray, audio_hz: int) -> float:
    """Upper edge of the highest band of 31 Hz whose mean power lies within 60 dB of the strongest band's."""
    if len(audio) < FFT_SAMPLES:
        audio = np.pad(audio, (0, FFT_SAMPLES - len(audio)))
    windows = np.lib.stride_tricks.sliding_window_view(audio, FFT_SAMPLES)[:: FFT_SAMPLES // 2]
    spectrum = np.square(np.abs(np.fft.rfft(windows * np.blackman(FFT_SAMPLES)))).mean(axis=0)
    level_db = 10 * np.log10(np.maximum(spectrum, 1e-20) / max(float(spectrum.max()), 1e-20))
    highest = int(np.flatnonzero(level_db > BANDWIDTH_DROP_DB).max())
    return float(min((highest + 0.5) * audio_hz / FFT_SAMPLES, audio_hz / 2))


@per_process
def _session() -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.enable_cpu_mem_arena = False  # the arena keeps its largest run for ever, 180 MB here
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(
        str(weights.path("dnsmos_p835")), sess_options=options, providers=["CPUExecutionProvider"]
    )
