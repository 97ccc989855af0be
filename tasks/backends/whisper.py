"""Whisper of any size by transformers: language, words, their times and how sure they are.

Source: Radford et al., Robust Speech Recognition via Large-Scale Weak Supervision, ICML 2023.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tasks.backend import Checkpoint
from tasks.backends.hub import NotLoaded, in_batches, moved, network, part
from tasks.media.media import Media
from tasks.recognise import MAX_COMPRESSION_RATIO, Heard, Word
from tasks.signal import Compute, Needs, Output

AUDIO_HZ = 16_000
WINDOW_S = 30.0
SEARCH_S = 5.0
"""A longer voice is cut where it is quietest in the last 5 s of a window: never within a word that can be avoided."""
MAX_NEW_TOKENS = 224
WRITTEN_WITHOUT_SPACES = ("zh", "ja", "th", "lo", "my", "yue")


@dataclass(frozen=True)
class Whisper:
    checkpoint: Checkpoint
    network: Any
    tokenizer: Any
    extractor: Any

    def recognise(self, voice: np.ndarray) -> tuple[str, float, Heard]:
        """(language, its probability, what was heard) of 16 kHz mono float32 speech, as tasks.recognise gives it."""
        import torch

        spans = windows(voice)
        with torch.inference_mode():
            ((language, probability), *_), doubt = self._first_step(voice[slice(*spans[0])])

            def run(part: Sequence[tuple[int, int]]) -> list[tuple[list[Word], float]]:
                return self._words([voice[slice(*span)] for span in part], [s / AUDIO_HZ for s, _ in part], language)

            made = in_batches(spans, self.checkpoint.batch_size, run)
        words = tuple(word for found, _ in made for word in found)
        return language, probability, Heard(words, sum(p for _, p in made), doubt, repeats=_repeats(words))

    def _features(self, voices: Sequence[np.ndarray]) -> Any:
        told = self.extractor(list(voices), sampling_rate=AUDIO_HZ, return_tensors="pt", return_attention_mask=True)
        return moved(dict(told), self.network)

    def languages(self, voice: np.ndarray) -> list[tuple[str, float]]:
        """(language, probability), the likeliest first, of the first 30 s; one of an English-only checkpoint."""
        import torch

        with torch.inference_mode():
            return self._first_step(voice[: windows(voice)[0][1]])[0]

    def _first_step(self, voice: np.ndarray) -> tuple[list[tuple[str, float]], float]:
        """(languages as above, no-speech probability), read from the first step of the decoder."""
        import torch

        config = self.network.generation_config
        start = torch.tensor([[config.decoder_start_token_id]], device=self.network.device)
        features = self._features([voice])["input_features"]
        logits = self.network(input_features=features, decoder_input_ids=start).logits[0, -1].double()
        no_speech = [self.tokenizer.convert_tokens_to_ids(t) for t in ("<|nospeech|>", "<|nocaptions|>")]
        known = [t for t in no_speech if t is not None and t != self.tokenizer.unk_token_id]
        doubt = float(logits.softmax(-1)[known[0]]) if known else 0.0
        if not getattr(config, "is_multilingual", False):
            return [("en", 1.0)], doubt
        names = sorted(config.lang_to_id)
        shares = logits[[config.lang_to_id[n] for n in names]].softmax(-1).tolist()
        told = [(name.strip("<|>"), share) for name, share in zip(names, shares, strict=True)]
        return sorted(told, key=lambda of: -of[1]), doubt

    def _words(
        self, voices: Sequence[np.ndarray], starts_s: Sequence[float], language: str
    ) -> list[tuple[list[Word], float]]:
        """Words on the voice's own time, and the log-likelihood of the text, of each window."""
        inputs = self._features(voices)
        spoken = {"language": language, "task": "transcribe"}
        told = self._generated(
            inputs["input_features"],
            attention_mask=inputs["attention_mask"],
            return_timestamps=False,
            return_token_timestamps=True,
            return_dict_in_generate=True,
            force_unique_generate_call=True,  # else the tokens come back without those that began the decoding
            do_sample=False,
            num_beams=1,
            max_new_tokens=min(MAX_NEW_TOKENS, self.network.config.max_target_positions - 8),
            **(spoken if getattr(self.network.generation_config, "is_multilingual", False) else {}),
        )
        tokens_BT, times_BT = told["sequences"], told["token_timestamps"]
        logits = self.network(input_features=inputs["input_features"], decoder_input_ids=tokens_BT[:, :-1]).logits
        chances_BT = logits.double().softmax(-1).gather(-1, tokens_BT[:, 1:, None])[..., 0].clamp(min=1e-12)
        made = []
        for row, (voice, start_s) in enumerate(zip(voices, starts_s, strict=True)):
            end_s = len(voice) / AUDIO_HZ
            ids, times = tokens_BT[row].tolist(), times_BT[row].float().clamp(0, end_s).tolist()
            chances = [1.0, *chances_BT[row].tolist()]
            text = [i for i, token in enumerate(ids) if token not in self.tokenizer.all_special_ids]
            words = self._joined([(ids[i], times[i], chances[i]) for i in text], end_s, language)
            placed = [Word(w.start_s + start_s, w.end_s + start_s, w.text, w.probability) for w in words]
            made.append((placed, sum(math.log(chances[i]) for i in text)))
        return made

    def _generated(self, features: Any, **told: Any) -> Any:
        import warnings

        with warnings.catch_warnings():  # transformers repeats a tensor by numpy, which numpy 2 will not do for ever
            warnings.filterwarnings("ignore", message="__array_wrap__", category=DeprecationWarning)
            return self.network.generate(features, **told)

    def _joined(self, tokens: Sequence[tuple[int, float, float]], end_s: float, language: str) -> list[Word]:
        """Tokens into words: one begins at a space, or, where none are written, with each whole character."""
        groups: list[list[tuple[int, float, float]]] = []
        whole = True
        for token in tokens:
            begins = self.tokenizer.decode([token[0]]).startswith(" ") or language in WRITTEN_WITHOUT_SPACES
            if not groups or (whole and begins):
                groups.append([])
            groups[-1].append(token)
            whole = not self.tokenizer.decode([t for t, _, _ in groups[-1]]).endswith("�")
        ends = [group[0][1] for group in groups[1:]] + [end_s]
        words = []
        for group, end in zip(groups, ends, strict=True):
            text = self.tokenizer.decode([t for t, _, _ in group])
            if text.strip():
                chance = float(np.mean([c for _, _, c in group]))
                words.append(Word(group[0][1], max(group[0][1], end), text, min(1.0, chance)))
        return words


def windows(voice: np.ndarray) -> list[tuple[int, int]]:
    """Spans of at most 30 s that cover the voice, in samples; cut where 0.1 s is quietest."""
    longest, search, step = (round(s * AUDIO_HZ) for s in (WINDOW_S, SEARCH_S, 0.1))
    spans, start = [], 0
    while len(voice) - start > longest:
        tail = np.square(voice[start + longest - search : start + longest], dtype=np.float64).reshape(-1, step)
        cut = start + longest - search + int(tail.sum(axis=1).argmin()) * step + step // 2
        spans.append((start, cut))
        start = cut
    return [*spans, (start, len(voice))]


def _repeats(words: Sequence[Word]) -> bool:
    """Radford et al. 2022: text that runs in circles compresses too well."""
    import zlib

    text = "".join(w.text for w in words).encode()
    return len(text) > 0 and len(text) / len(zlib.compress(text)) > MAX_COMPRESSION_RATIO


def load(checkpoint: Checkpoint) -> Whisper:
    """Raises NotLoaded, also for a checkpoint without the heads that word times are read from."""
    # Times are read from the attention, which the fused kernels don't give back.
    made = network("AutoModelForSpeechSeq2Seq", checkpoint, attn_implementation="eager")
    if not getattr(made.generation_config, "alignment_heads", None):
        raise NotLoaded(f"{checkpoint.model}: its generation_config.json names no alignment_heads, so no word times")
    return Whisper(checkpoint, made, part("AutoTokenizer", checkpoint), part("AutoFeatureExtractor", checkpoint))


def speech(model: Whisper, media: Media, needs: Needs, default: Compute) -> Output:
    """The signal's own guards and columns around this model's words."""
    from tasks.signals.speech import transcribe

    return transcribe(media, needs, model.recognise)


def language(model: Whisper, media: Media, needs: Needs, default: Compute) -> Output:
    """The signal's own guards and columns around this model's languages. Raises NotApplicable for an English-only model."""
    from tasks.signals.language import of_voice

    return of_voice(media, needs, model.languages)
