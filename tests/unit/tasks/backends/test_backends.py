"""What holds for every backend, on checkpoints with random weights: shapes, dtype, batches, determinism, memory."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from tasks.backends.q_align import grades
from tasks.backends.qwen_vl import Prompt
from tasks.media.media import Media
from tasks.signal import NotApplicable, Output

from .conftest import Made


@dataclass(frozen=True)
class Case:
    """A backend, the tiny checkpoint it is tested on, and what it makes of the same input each time."""

    module: str
    kind: str
    run: Callable[[Any, Sequence[np.ndarray], np.ndarray], np.ndarray]
    shape: tuple[int, ...]
    told: Callable[[Any], Any] = lambda model: model.network


CASES = {
    "grades": Case("q_align", "qwen2_5_vl", lambda m, images, _: grades(m, images), (5,)),
    "answers": Case("qwen_vl", "qwen2_5_vl", lambda m, images, _: spelled(m, images), (5, 2)),
    "image vectors": Case("siglip", "siglip", lambda m, images, _: m.image_vectors(images), (5, 16)),
    "match": Case("siglip", "siglip", lambda m, images, _: m.match(images, ["one", "two", "three words here"]), (5, 3)),
    "features": Case("hubert", "hubert", lambda m, _, voice: m.features(np.tile(voice, 7)), (1575, 16)),
    "classes": Case("wav2vec2", "wav2vec2", lambda m, _, voice: np.array(list(m.probabilities(voice).values())), (2,)),
    "sound vectors": Case("clap", "clap", lambda m, _, voice: m.sound_vectors(np.tile(voice, 2)), (2, 8)),
    "words": Case(
        "whisper",
        "whisper",
        lambda m, _, voice: np.array([[w.start_s, w.end_s, w.probability] for w in heard(m, voice)]),
        (2, 3),
    ),
    "videos": Case(
        "videomae", "videomae", lambda m, images, _: m.features([np.stack([i] * 16) for i in images]), (5, 16)
    ),
}
pytest.importorskip("transformers", reason="hub backends need the extra: pip install -e '.[hub]'")


def heard(model: Any, voice: np.ndarray) -> Any:
    """The words of 36 s, which are two windows."""
    return model.recognise(np.tile(voice, 4))[2].words


def spelled(model: Any, images: Sequence[np.ndarray]) -> np.ndarray:
    """An answer about each image, told by its length and its letters."""
    answers = model.answers([Prompt((image,), "What?") for image in images], max_new_tokens=6)
    return np.array([[len(answer), sum(answer.encode())] for answer in answers], np.float64)


def load(case: Case, checkpoint: Made, **more: Any) -> Any:
    return importlib.import_module(f"tasks.backends.{case.module}").load(checkpoint(case.kind, **more))


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_shape_determinism_and_batches(
    case: Case, checkpoint: Made, images: list[np.ndarray], voice: np.ndarray
) -> None:
    model = load(case, checkpoint, batch_size=2)
    first = case.run(model, images, voice)
    assert first.shape == case.shape
    assert np.isfinite(first).all()
    assert first.std() > 0, "the same whatever the input"
    assert np.array_equal(first, case.run(model, images, voice))
    alone = case.run(load(case, checkpoint, batch_size=1), images, voice)
    np.testing.assert_allclose(first, alone, atol=1e-4)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_the_dtype_is_the_one_asked_for(
    case: Case, checkpoint: Made, images: list[np.ndarray], voice: np.ndarray
) -> None:
    half = load(case, checkpoint, dtype="bfloat16")
    assert {p.dtype for p in half.network.parameters()} == {torch.bfloat16}
    assert np.isfinite(case.run(half, images, voice)).all()


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_batch_that_is_too_large_is_halved(
    case: Case, checkpoint: Made, images: list[np.ndarray], voice: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = case.run(load(case, checkpoint, batch_size=1), images, voice)
    model = load(case, checkpoint, batch_size=8)
    sizes: list[int] = []

    def refuse(module: Any, args: Any, kwargs: Any) -> None:
        given = [*args, *kwargs.values()]
        size = next(len(a) for a in given if isinstance(a, torch.Tensor) and a.ndim > 1)
        sizes.append(size)
        if size > 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB")

    for part in seen(case, model.network):
        part.register_forward_pre_hook(refuse, with_kwargs=True)
    np.testing.assert_allclose(case.run(model, images, voice), expected, atol=1e-4)
    assert max(sizes) > 1
    assert sizes[-1] == 1


def seen(case: Case, network: Any) -> list[Any]:
    """The parts whose first tensor has one row per item."""
    return {
        "siglip": lambda: [network.vision_model, network.text_model],
        "clap": lambda: [network.audio_model, network.text_model],
        "whisper": lambda: [network.model.encoder, network.model.decoder],
        "q_align": lambda: [network.model.language_model.layers[0]],
        "qwen_vl": lambda: [network.model.language_model.layers[0]],
        "hubert": lambda: [network],
        "wav2vec2": lambda: [network],
        "videomae": lambda: [network],
    }[case.module]()


def test_one_item_that_is_too_large_is_tried_again_later(checkpoint: Made, images: list[np.ndarray]) -> None:
    model = load(CASES["image vectors"], checkpoint)

    def refuse(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    model.network.vision_model.register_forward_pre_hook(refuse)
    with pytest.raises(MemoryError, match="one item is too much"):
        model.image_vectors(images)


def test_another_error_is_not_taken_for_lack_of_memory(checkpoint: Made, images: list[np.ndarray]) -> None:
    model = load(CASES["image vectors"], checkpoint)

    def fail(*_: Any) -> None:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    model.network.vision_model.register_forward_pre_hook(fail)
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        model.image_vectors(images)


def test_answers_come_per_prompt_whatever_is_beside_them(checkpoint: Made, images: list[np.ndarray]) -> None:
    model = load(CASES["grades"], checkpoint)
    prompts = [Prompt((images[0],), "What?"), Prompt((images[1], images[2]), "Who is it?"), Prompt((images[3],), "?")]
    together = model.answers(prompts, max_new_tokens=6)
    assert len(together) == 3
    assert all(together)
    assert together == [model.answers([p], max_new_tokens=6)[0] for p in prompts]


def test_choices_are_probabilities_and_depend_on_the_picture(checkpoint: Made, images: list[np.ndarray]) -> None:
    model = load(CASES["grades"], checkpoint)
    made = model.choices([Prompt((i,), "How good?") for i in images[:2]], [" good", " bad"])
    np.testing.assert_allclose(made.sum(axis=1), 1)
    assert not np.array_equal(made[0], made[1])
    with pytest.raises(ValueError, match="begin with the same token"):
        model.choices([Prompt((images[0],), "?")], [" good", " good one"])


def test_a_synthetic_voice_is_what_the_labels_call_so(checkpoint: Made, voice: np.ndarray) -> None:
    model = load(CASES["classes"], checkpoint)
    told = model.probabilities(voice)
    assert sum(told.values()) == pytest.approx(1)
    of_windows = model.synthetic(voice)
    assert of_windows.shape == (3,)  # of 4 s in 9 s
    assert of_windows.mean() == pytest.approx(told["spoof"])


def test_the_signal_takes_the_classes_of_a_checkpoint(checkpoint: Made, voice: np.ndarray) -> None:
    from tasks.backends.wav2vec2 import synthetic_audio
    from tasks.media.media import Media
    from tests.moving_mouth import vad

    model = load(CASES["classes"], checkpoint)
    media = Media(0, 225, 64, 64, audio=voice)

    def default(*_: Any) -> Any:
        raise AssertionError("every column is the model's")

    row = synthetic_audio(model, media, {"vad": vad(225)}, default).row
    told = model.synthetic(voice)
    assert row["synthetic_ratio"] == float((told >= 0.5).mean())
    assert min(told) <= row["synthetic_score"] <= max(told)


def test_clap_tells_music_and_leaves_the_rest_to_the_default(checkpoint: Made, voice: np.ndarray) -> None:
    from tasks.backends.clap import MUSIC, OTHER, speech_quality

    model = load(CASES["sound vectors"], checkpoint)
    media = Media(0, 225, 64, 64, audio=voice)
    row = speech_quality(model, media, {}, lambda *_: Output(row={"snr_db": 20.0, "music_ratio": 0.0})).row
    told = model.probabilities(voice, (*MUSIC, *OTHER))
    assert row == {"snr_db": 20.0, "music_ratio": pytest.approx(told[: len(MUSIC)].sum())}
    assert 0 < row["music_ratio"] < 1


def test_whisper_reads_language_and_doubt_off_the_first_step(checkpoint: Made, voice: np.ndarray) -> None:
    language, probability, found = load(CASES["words"], checkpoint).recognise(voice)
    assert language in ("en", "fr")
    assert 0.5 <= probability <= 1
    assert 0 < found.no_speech_prob < 1
    assert all(0 <= w.start_s <= w.end_s <= 9 for w in found.words)


def test_whisper_ranks_the_languages_of_a_voice(checkpoint: Made, voice: np.ndarray) -> None:
    from tasks.backends.whisper import language
    from tests.moving_mouth import vad

    model = load(CASES["words"], checkpoint)
    ranked = model.languages(voice)
    assert sorted(name for name, _ in ranked) == ["en", "fr"]
    assert ranked[0] == model.recognise(voice)[:2]
    assert sum(p for _, p in ranked) == pytest.approx(1)

    def default(*_: Any) -> Any:
        raise AssertionError("every column is the model's")

    media = Media(0, 225, 64, 64, audio=voice)
    row = language(model, media, {"vad": vad(225)}, default).row
    assert (row["language"], row["second_language"]) == (ranked[0][0], ranked[1][0])
    assert row["probability"] == pytest.approx(ranked[0][1], abs=0.05)
    model.network.generation_config.is_multilingual = False
    with pytest.raises(NotApplicable, match="one language only"):
        language(model, media, {"vad": vad(225)}, default)


def test_a_long_voice_is_cut_where_it_is_quiet() -> None:
    from tasks.backends.whisper import windows

    voice = np.full(70 * 16_000, 0.1, np.float32)
    voice[27 * 16_000 : 28 * 16_000] = 0
    (first, second, third) = windows(voice)
    assert 27 * 16_000 <= first[1] <= 28 * 16_000
    assert (first[0], second[0], third[0], third[1]) == (0, first[1], second[1], len(voice))


def test_tokens_become_words_at_spaces_and_characters_stay_whole(checkpoint: Made) -> None:
    model = load(CASES["words"], checkpoint)
    ids = model.tokenizer(" hello there é", add_special_tokens=False)["input_ids"]
    tokens = [(token, 0.1 * i, 0.5) for i, token in enumerate(ids)]
    words = model._joined(tokens, 2.0, "en")
    assert [w.text for w in words] == [" hello", " there", " é"]
    assert words[0].end_s == words[1].start_s
    assert words[-1].end_s == 2.0


@pytest.mark.parametrize(
    ("module", "kind", "told"),
    [("qwen_vl", "hubert", "can't be loaded"), ("siglip", "nowhere", "can't be loaded")],
)
def test_what_can_not_be_loaded_says_so(module: str, kind: str, told: str, checkpoint: Made, tmp_path: Any) -> None:
    from dataclasses import replace

    from tasks.backends.hub import NotLoaded

    place = replace(checkpoint("hubert"), model=str(tmp_path)) if kind == "nowhere" else checkpoint(kind)
    with pytest.raises(NotLoaded, match=told):
        importlib.import_module(f"tasks.backends.{module}").load(place)


def test_labels_must_say_what_is_synthetic(tmp_path: Any) -> None:
    from tasks.backend import Checkpoint
    from tasks.backends.hub import NotLoaded
    from tasks.backends.wav2vec2 import load as load_classes
    from tests.tiny_checkpoints import wav2vec2

    folder = wav2vec2(tmp_path, ("LABEL_0", "LABEL_1"))
    with pytest.raises(NotLoaded, match="mean synthetic: LABEL_0, LABEL_1"):
        load_classes(Checkpoint(str(folder), "folder-tiny", "float32", "cpu", 1))


def test_word_times_need_alignment_heads(tmp_path: Any) -> None:
    import json

    from tasks.backend import Checkpoint
    from tasks.backends.hub import NotLoaded
    from tasks.backends.whisper import load as load_whisper
    from tests.tiny_checkpoints import whisper

    folder = whisper(tmp_path)
    file = folder / "generation_config.json"
    told = json.loads(file.read_text())
    del told["alignment_heads"]
    file.write_text(json.dumps(told))
    with pytest.raises(NotLoaded, match="alignment_heads"):
        load_whisper(Checkpoint(str(folder), "folder-tiny", "float32", "cpu", 1))


def test_features_of_a_video_see_motion_and_order(checkpoint: Made, images: list[np.ndarray]) -> None:
    model = load(CASES["videos"], checkpoint)
    moving = np.stack([images[k % 5] for k in range(16)])
    made = model.features([moving, moving[::-1], np.stack([images[0]] * 16)])
    assert len({row.tobytes() for row in made}) == 3
    assert model.features([]).shape == (0, 16)


def test_a_video_network_must_be_one_be_whole_and_take_16_frames(checkpoint: Made, tmp_path: Any) -> None:
    from dataclasses import replace

    from safetensors.torch import load_file, save_file

    from tasks.backends.hub import NotLoaded
    from tasks.backends.videomae import load as load_videos
    from tests.tiny_checkpoints import videomae

    with pytest.raises(NotLoaded, match="is siglip, not videomae"):
        load_videos(checkpoint("siglip"))
    told = replace(checkpoint("videomae"), model=str(videomae(tmp_path, num_frames=8)))
    with pytest.raises(NotLoaded, match="takes 8 frames, FVD is of 16"):
        load_videos(told)
    weights = load_file(videomae(tmp_path) / "model.safetensors")
    lost = next(name for name in weights if "attention" in name)
    save_file({n: v for n, v in weights.items() if n != lost}, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(NotLoaded, match="VideoMAEModel has no weights for encoder.layer.0.attention.* and 0 more"):
        load_videos(told)


def test_json_of_an_answer() -> None:
    from tasks.backends.qwen_vl import told_as_json

    assert told_as_json('Sure: {"short": "A  man.", "n": 2}', ("short", "n")) == {"short": "A man.", "n": "2"}
    with pytest.raises(ValueError, match="no JSON object with short"):
        told_as_json("A man.", ("short",))
    with pytest.raises(ValueError, match="no JSON object with short"):
        told_as_json('{"long": "x"}', ("short",))


def still(frames: int = 75) -> Media:
    from tests.drawn_face import media_of, wall

    return media_of({f: wall(96, 64) for f in range(frames)}, frames)


def test_qwen_fills_what_the_default_of_categories_can_not_tell(
    checkpoint: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tasks.backends import qwen_vl

    model = load(CASES["answers"], checkpoint)
    given = {"setting": None, "accessories": None, "age_band": None, "view": "frontal", "num_told": 1}
    unsure = qwen_vl.categories(model, still(), {}, lambda media, needs: Output(row=given)).row
    assert unsure == given, "a model with random weights is sure of nothing"
    monkeypatch.setattr(qwen_vl, "MIN_PROBABILITY", 0.0)
    sure = qwen_vl.categories(model, still(), {}, lambda media, needs: Output(row=given)).row
    assert sure["setting"] in qwen_vl.SETTINGS.values()
    assert sure["accessories"] in qwen_vl.ACCESSORIES.values()
    assert (sure["age_band"], sure["view"], sure["num_told"]) == (None, "frontal", 3)


def test_qwen_weighs_the_kinds_of_content(checkpoint: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    from tasks.backends import qwen_vl

    model = load(CASES["answers"], checkpoint)
    row = qwen_vl.content(model, still(), {}, lambda media, needs: Output())
    shares = {k: v for k, v in row.row.items() if k != "kind"}
    assert sum(shares.values()) == pytest.approx(1)
    assert row.row["kind"] == "natural"
    monkeypatch.setattr(qwen_vl, "MIN_PROBABILITY", 0.0)
    best = max(shares, key=lambda k: shares[k]).removesuffix("_probability")
    assert qwen_vl.content(model, still(), {}, lambda media, needs: Output()).row["kind"] == best


def test_aesthetics_are_graded_by_their_own_question(checkpoint: Made, images: list[np.ndarray]) -> None:
    from tasks.backends import q_align

    model = load(CASES["grades"], checkpoint)
    given = {"score": 0.0, "score_min": 0.0, "contrast": 0.4}
    row = q_align.aesthetic(model, still(), {}, lambda media, needs: Output(row=given)).row
    assert 0 < row["score_min"] <= row["score"] < 1
    assert row["contrast"] == 0.4
    assert grades(model, images[:1], "aesthetics")[0] != grades(model, images[:1])[0]


def test_captions_are_the_models_and_windows_the_templates(checkpoint: Made) -> None:
    from tasks.backends import qwen_vl

    model = load(CASES["answers"], checkpoint)
    asked: list[Any] = []

    class Says:
        def answers(self, prompts: Any) -> list[str]:
            asked.extend(prompts)
            return ['{"short": "A man.", "medium": "A man talks.", "long": "A man talks in a room."}']

    line = pa.table({"frame": pa.array([0], pa.int32())})
    default = Output(row={"short": "x", "num_facts": 3}, timeline=line)
    made = qwen_vl.caption(Says(), still(), {}, lambda media, needs: default)  # type: ignore[arg-type]
    assert made.row == {"short": "A man.", "medium": "A man talks.", "long": "A man talks in a room.", "num_facts": 3}
    assert made.timeline is line
    assert len(asked[0].images) == 3
    with pytest.raises(ValueError, match="no JSON object"):
        qwen_vl.caption(model, still(), {}, lambda media, needs: default)


def test_siglip_says_how_well_a_caption_fits(checkpoint: Made) -> None:
    from tasks.backends import siglip

    model = load(CASES["image vectors"], checkpoint)
    given = Output(row={"agreement": 1.0, "video_match": None})
    row = siglip.caption_agreement(model, still(), {"caption": {"short": "A wall."}}, lambda media, needs: given).row
    assert row["agreement"] == 1
    assert 0 < row["video_match"] < 1
