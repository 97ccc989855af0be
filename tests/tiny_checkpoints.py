"""Checkpoints of hub models with random weights, small enough to be made in a test: right shapes, no sense."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from tasks.backends.q_align import LEVELS
from tasks.backends.qwen_vl import ACCESSORIES, KINDS, SETTINGS

CHAT = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ c['text'] }}{% endif %}"
    "{% endfor %}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def tokenizer(folder: Path, special: Sequence[str], words: Sequence[str] = (), **more: Any) -> Any:
    """Bytes as tokens, some whole words, and special tokens; saved in the folder."""
    alphabet = [*sorted(pre_tokenizers.ByteLevel.alphabet()), *(w.replace(" ", "Ġ") for w in words)]
    raw = Tokenizer(models.BPE({t: i for i, t in enumerate(alphabet)}, [], ignore_merges=True))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    raw.decoder = decoders.ByteLevel()
    made = transformers.PreTrainedTokenizerFast(tokenizer_object=raw, model_max_length=512, **more)
    made.add_special_tokens({"additional_special_tokens": list(special)})
    made.save_pretrained(folder)
    return made


def _save(model: Any, folder: Path) -> None:
    model.save_pretrained(folder)


def qwen2_5_vl(folder: Path, seed: int = 0) -> Path:
    special = ("<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
    words = (*LEVELS, *SETTINGS, *ACCESSORIES, *KINDS)
    told = tokenizer(folder, special, words, eos_token="<|im_end|>", pad_token="<|im_end|>", chat_template=CHAT)
    ids = {t: told.convert_tokens_to_ids(t) for t in special}
    torch.manual_seed(seed)
    config = transformers.Qwen2_5_VLConfig(
        text_config={
            "vocab_size": len(told),
            "hidden_size": 32,
            "intermediate_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "rope_parameters": {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 1e4},
            "bos_token_id": ids["<|im_start|>"],
            "eos_token_id": ids["<|im_end|>"],
            "pad_token_id": ids["<|im_end|>"],
        },
        vision_config={
            "depth": 1,
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_heads": 2,
            "out_hidden_size": 32,
            "patch_size": 14,
            "fullatt_block_indexes": [0],
            "window_size": 56,
        },
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
    )
    _save(transformers.Qwen2_5_VLForConditionalGeneration(config), folder)
    size = {"shortest_edge": 28 * 28, "longest_edge": 56 * 56}
    transformers.Qwen2VLImageProcessorPil(size=size, patch_size=14).save_pretrained(folder)
    return folder


def siglip(folder: Path, seed: int = 0) -> Path:
    told = tokenizer(folder, ("</s>",), eos_token="</s>", pad_token="</s>")
    torch.manual_seed(seed)
    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = transformers.SiglipConfig(
        text_config={
            **small,
            "vocab_size": len(told),
            "max_position_embeddings": 64,
            "bos_token_id": told.eos_token_id,
            "eos_token_id": told.eos_token_id,
            "pad_token_id": told.eos_token_id,
        },
        vision_config={**small, "image_size": 32, "patch_size": 16},
    )
    _save(transformers.SiglipModel(config), folder)
    transformers.SiglipImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


def _wav2vec2_like() -> dict[str, Any]:
    return {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "conv_dim": (8,) * 7,
        "num_conv_pos_embeddings": 4,
        "num_conv_pos_embedding_groups": 2,
        "classifier_proj_size": 8,
    }


def hubert(folder: Path, seed: int = 0) -> Path:
    torch.manual_seed(seed)
    _save(transformers.HubertModel(transformers.HubertConfig(**_wav2vec2_like())), folder)
    transformers.Wav2Vec2FeatureExtractor().save_pretrained(folder)
    return folder


def wav2vec2(folder: Path, labels: Sequence[str] = ("bonafide", "spoof"), seed: int = 0) -> Path:
    torch.manual_seed(seed)
    config = transformers.Wav2Vec2Config(**_wav2vec2_like(), id2label=dict(enumerate(labels)), num_labels=len(labels))
    _save(transformers.Wav2Vec2ForSequenceClassification(config), folder)
    transformers.Wav2Vec2FeatureExtractor().save_pretrained(folder)
    return folder


def clap(folder: Path, seed: int = 0) -> Path:
    told = tokenizer(folder, ("<s>", "</s>", "<pad>"), bos_token="<s>", eos_token="</s>", pad_token="<pad>")
    torch.manual_seed(seed)
    config = transformers.ClapConfig(
        text_config={
            "vocab_size": len(told),
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "pad_token_id": told.pad_token_id,
        },
        audio_config={
            "spec_size": 256,
            "hidden_size": 16,
            "patch_embeds_hidden_size": 8,
            "depths": [1, 1],
            "num_attention_heads": [1, 2],
            "window_size": 4,
            "num_mel_bins": 64,
            "projection_dim": 8,
        },
        projection_dim=8,
    )
    _save(transformers.ClapModel(config), folder)
    transformers.ClapFeatureExtractor(truncation="rand_trunc").save_pretrained(folder)
    return folder


def whisper(folder: Path, seed: int = 0) -> Path:
    special = ("<|endoftext|>", "<|startoftranscript|>", "<|en|>", "<|fr|>", "<|transcribe|>", "<|translate|>")
    special = (*special, "<|nospeech|>", "<|notimestamps|>")
    told = tokenizer(folder, special, (" hello", " there"), eos_token="<|endoftext|>", pad_token="<|endoftext|>")
    ids = {t: told.convert_tokens_to_ids(t) for t in special}
    torch.manual_seed(seed)
    config = transformers.WhisperConfig(
        vocab_size=len(told) + 1501,  # times follow the last token
        d_model=16,
        encoder_layers=1,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
        max_target_positions=64,
        bos_token_id=ids["<|endoftext|>"],
        eos_token_id=ids["<|endoftext|>"],
        pad_token_id=ids["<|endoftext|>"],
        decoder_start_token_id=ids["<|startoftranscript|>"],
    )
    model = transformers.WhisperForConditionalGeneration(config)
    model.generation_config = transformers.GenerationConfig(
        eos_token_id=ids["<|endoftext|>"],
        pad_token_id=ids["<|endoftext|>"],
        decoder_start_token_id=ids["<|startoftranscript|>"],
        is_multilingual=True,
        lang_to_id={"<|en|>": ids["<|en|>"], "<|fr|>": ids["<|fr|>"]},
        task_to_id={"transcribe": ids["<|transcribe|>"], "translate": ids["<|translate|>"]},
        no_timestamps_token_id=ids["<|notimestamps|>"],
        alignment_heads=[[1, 0], [1, 1]],
        max_initial_timestamp_index=50,
        suppress_tokens=list(range(len(told), len(told) + 1501)),
    )
    _save(model, folder)
    transformers.WhisperFeatureExtractor().save_pretrained(folder)
    return folder


def videomae(folder: Path, num_frames: int = 16, seed: int = 0) -> Path:
    torch.manual_seed(seed)
    config = transformers.VideoMAEConfig(
        image_size=32,
        patch_size=16,
        num_frames=num_frames,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        decoder_hidden_size=8,
        decoder_intermediate_size=8,
        decoder_num_hidden_layers=1,
        decoder_num_attention_heads=2,
        initializer_range=0.3,
    )
    _save(transformers.VideoMAEForVideoClassification(config), folder)
    size = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}
    transformers.VideoMAEImageProcessorPil(**size).save_pretrained(folder)
    return folder
