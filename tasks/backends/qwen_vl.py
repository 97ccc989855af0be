"""Vision-language models of the Qwen family (Qwen2.5-VL and those that keep its image tokens): captions, choices.

Images go through the image processor and the chat template of the checkpoint; its image token is repeated as often as
the image has merged patches. The processor class of transformers is left out, since it needs torchvision.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tasks.backend import Checkpoint
from tasks.backends.hub import NotLoaded, image_processor, in_batches, moved, network, part
from tasks.media.media import Media
from tasks.signal import Compute, Needs, Output

MAX_NEW_TOKENS = 256
FPS = 1
SIDE_PX = 448
MAX_FRAMES = 8
LENGTHS = ("short", "medium", "long")
SETTINGS = {" indoors": "indoors", " outdoors": "outdoors", " studio": "studio", " vehicle": "vehicle"}
ACCESSORIES = {" glasses": "glasses", " hat": "hat", " headphones": "headphones", " mask": "mask", " none": "none"}
KINDS = {
    " natural": "natural",
    " screen": "screencast",
    " slide": "slides",
    " game": "game",
    " cartoon": "cartoon",
    " photograph": "still",
    " inset": "inset",
    " pattern": "test_pattern",
    " statue": "statue",
}
MIN_PROBABILITY = 0.6
"""Below it a dimension stays NULL, and a clip passes as natural footage."""
QUESTION = (
    "These are frames of one video clip, in order. Describe only what can be seen; guess no names and no ages. "
    'Answer with one JSON object: "short" is one sentence, "medium" is two sentences, "long" is a paragraph that tells '
    "how many people there are, the framing, the setting, what they do, the camera and any text on screen."
)


@dataclass(frozen=True)
class Prompt:
    """A question about images, RGB uint8 (H, W, 3); the answer begins with `begun`."""

    images: tuple[np.ndarray, ...]
    question: str
    begun: str = ""


@dataclass(frozen=True)
class VisionLanguage:
    checkpoint: Checkpoint
    network: Any
    tokenizer: Any
    images: Any

    def answers(self, prompts: Sequence[Prompt], max_new_tokens: int = MAX_NEW_TOKENS) -> list[str]:
        """The likeliest answer to each, token by token (no sampling)."""

        def run(part: Sequence[Prompt]) -> list[str]:
            inputs = self._inputs(part)
            told = self.network.generate(**inputs, do_sample=False, num_beams=1, max_new_tokens=max_new_tokens)
            answers = told[:, inputs["input_ids"].shape[1] :]
            return [str(a).strip() for a in self.tokenizer.batch_decode(answers, skip_special_tokens=True)]

        return self._batched(prompts, run)

    def choices(self, prompts: Sequence[Prompt], options: Sequence[str]) -> np.ndarray:
        """Float64 (N, K): the probability of each option as the next word, among the options.

        Raises ValueError for options that begin with the same token.
        """
        first = [self.tokenizer(option, add_special_tokens=False)["input_ids"][0] for option in options]
        if len(set(first)) != len(first):
            raise ValueError(f"options {list(options)}: two begin with the same token; choose other words")

        def run(part: Sequence[Prompt]) -> list[np.ndarray]:
            logits = self.network(**self._inputs(part), logits_to_keep=1).logits[:, -1]
            return list(logits[:, first].double().softmax(-1).cpu().numpy())

        return np.asarray(self._batched(prompts, run)).reshape(-1, len(first))

    def _batched(self, prompts: Sequence[Prompt], run: Any) -> list[Any]:
        import torch

        with torch.inference_mode():
            return in_batches(prompts, self.checkpoint.batch_size, run)

    def _inputs(self, prompts: Sequence[Prompt]) -> dict[str, Any]:
        import torch

        images = [image for prompt in prompts for image in prompt.images]
        pixels = self.images(images=images, return_tensors="pt")
        merged = (pixels["image_grid_thw"].prod(-1) // self.images.merge_size**2).tolist()
        token = self.tokenizer.convert_ids_to_tokens(self.network.config.image_token_id)
        texts, used = [], 0
        for prompt in prompts:
            pieces = self._chat(prompt).split(token)
            counts = merged[used : used + len(prompt.images)]
            used += len(prompt.images)
            texts.append(pieces[0] + "".join(token * n + rest for n, rest in zip(counts, pieces[1:], strict=True)))
        told = self.tokenizer(texts, return_tensors="pt", padding=True, padding_side="left", add_special_tokens=False)
        is_image = (told["input_ids"] == self.network.config.image_token_id).to(torch.int32)
        names = ("input_ids", "attention_mask")
        return moved({**{n: told[n] for n in names}, "mm_token_type_ids": is_image, **pixels}, self.network)

    def _chat(self, prompt: Prompt) -> str:
        content = [{"type": "image"} for _ in prompt.images] + [{"type": "text", "text": prompt.question}]
        chat = [{"role": "user", "content": content}]
        told = self.tokenizer.apply_chat_template(
            chat, add_generation_prompt=True, tokenize=False, enable_thinking=False
        )
        return str(told) + prompt.begun


def load(checkpoint: Checkpoint) -> VisionLanguage:
    """Raises NotLoaded, also for a checkpoint that is not of this family."""
    made = network("AutoModelForImageTextToText", checkpoint)
    if not hasattr(made.config, "image_token_id"):
        raise NotLoaded(f"{checkpoint.model}: has no image token, so it is no model of the Qwen-VL family")
    return VisionLanguage(checkpoint, made, part("AutoTokenizer", checkpoint), image_processor(checkpoint))


def told_as_json(answer: str, keys: Sequence[str]) -> Mapping[str, str]:
    """The first JSON object of an answer, its `keys` as text. Raises ValueError when it holds none, or lacks a key."""
    start, end = answer.find("{"), answer.rfind("}")
    try:
        found = json.loads(answer[start : end + 1])
        return {key: " ".join(str(found[key]).split()) for key in keys}
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"the model's answer is no JSON object with {', '.join(keys)}: {answer[:200]!r}") from error


def caption(model: VisionLanguage, media: Media, needs: Needs, default: Compute) -> Output:
    """The three captions by the model, from up to 8 frames; windows and events are those of the default.

    An answer that is no JSON object is a failure of the row, whose message holds its beginning.
    """
    told = told_as_json(model.answers([Prompt(_images(media), QUESTION)])[0], LENGTHS)
    made = default(media, needs)
    return Output(row={**made.row, **told}, timeline=made.timeline)


def categories(model: VisionLanguage, media: Media, needs: Needs, default: Compute) -> Output:
    """Setting and accessories by the model, which the default can't tell; the rest, and age NULL, as the default has it."""
    row = dict(default(media, needs).row)
    images = _images(media)
    asked = {
        "setting": ("Where was this video made?", "It was made in this setting:", SETTINGS),
        "accessories": ("What does the main person wear on the head?", "On the head the person wears", ACCESSORIES),
    }
    for name, (question, begun, words) in asked.items():
        probabilities = model.choices([Prompt(images, question, begun)], list(words))[0]
        best = int(probabilities.argmax())
        row[name] = list(words.values())[best] if probabilities[best] >= MIN_PROBABILITY else None
    more = sum(row[name] is not None for name in asked)  # the default tells neither
    return Output(row=row | {"num_told": int(row["num_told"]) + more})


def content(model: VisionLanguage, media: Media, needs: Needs, default: Compute) -> Output:
    """The probability of each kind, as the model's next word; the default is not asked."""
    question = (
        "What kind of video are these frames from? natural: people or places filmed by a camera; screen: a recorded "
        "screen; slide: presentation slides; game: a computer game; cartoon: drawn or rendered; photograph: a still "
        "over which the camera moves; inset: a video within a picture; pattern: test pattern; statue: a bust or doll."
    )
    probabilities = model.choices([Prompt(_images(media), question, "The kind is")], list(KINDS))[0]
    best = int(probabilities.argmax())
    sure = list(KINDS.values())[best] if probabilities[best] >= MIN_PROBABILITY else "natural"
    told = {f"{kind}_probability": float(p) for kind, p in zip(KINDS.values(), probabilities, strict=True)}
    return Output(row={"kind": sure, **told})


def _images(media: Media) -> tuple[np.ndarray, ...]:
    """Up to 8 frames, evenly over the clip."""
    frames = media.at(FPS)
    chosen = np.unique(np.linspace(0, len(frames) - 1, MAX_FRAMES).round().astype(int))
    return tuple(media.image(frames[i], SIDE_PX) for i in chosen)
