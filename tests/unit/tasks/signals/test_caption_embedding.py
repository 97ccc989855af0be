from __future__ import annotations

import numpy as np
import pytest

from tasks import minilm
from tasks.digest import declared_row
from tasks.media.media import Media
from tasks.signals import caption_embedding


def test_sentences_that_mean_the_same_lie_close() -> None:
    same = [minilm.embed(s) for s in ("One person speaks English.", "A single man is talking in English.")]
    other = minilm.embed("A dog runs over a meadow.")
    assert all(np.linalg.norm(v) == pytest.approx(1, abs=1e-5) and v.dtype == np.float32 for v in (*same, other))
    assert float(same[0] @ same[1]) > float(same[0] @ other) + 0.3


@pytest.mark.slow
def test_it_is_the_encoder_that_transformers_runs() -> None:
    transformers = pytest.importorskip("transformers")
    torch = pytest.importorskip("torch")
    from safetensors.torch import load_file

    from infra import weights

    config = transformers.BertConfig(
        vocab_size=30522, hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536
    )
    model = transformers.BertModel(config, add_pooling_layer=False).eval()
    held = {k: v for k, v in load_file(str(weights.path("minilm_l6_v2"))).items() if not k.startswith("pooler")}
    model.load_state_dict({k: v for k, v in held.items() if k in model.state_dict()})
    text = "Two people, in a medium shot; the camera is still."
    ids = torch.tensor([minilm.tokens(text)])
    assert ids[0, 0] == 101
    assert ids[0, -1] == 102
    with torch.inference_mode():
        mean = model(ids).last_hidden_state[0].mean(0)
    np.testing.assert_allclose(minilm.embed(text), (mean / mean.norm()).numpy(), atol=2e-5)


def test_the_row_and_its_vectors() -> None:
    told = {"short": "One person.", "medium": "One person speaks.", "long": "word " * 400}
    output = caption_embedding.compute(Media(0, 25, 64, 48), {"caption": told})
    row = declared_row(caption_embedding.SIGNAL.columns, output.row)
    assert (row["num_tokens"], row["cut"]) == (256, True)
    assert {n: v.shape for n, v in output.vectors.items()} == dict.fromkeys(("short", "medium", "long"), (384,))
    assert row["short_long_cosine"] == pytest.approx(float(output.vectors["short"] @ output.vectors["long"]), abs=1e-4)
    short = caption_embedding.compute(Media(0, 25, 64, 48), {"caption": dict.fromkeys(told, "One person.")}).row
    assert (short["num_tokens"], short["cut"], short["short_long_cosine"]) == (5, False, pytest.approx(1, abs=1e-5))
