"""EfficientNet-lite0 up to its last feature map: what the embeddings of whole pictures and of backgrounds pool.

H, W 7 cells; D features. Source: Tan and Le, EfficientNet, ICML 2019; lite0 for MediaPipe Image Classifier.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from infra import weights
from tasks.litert import interpreter
from tasks.networks import per_thread

WEIGHTS = "efficientnet_lite0"
SIDE_PX = 224
DIMENSION = 1280
FEATURE_MAP = (
    "efficientnet-lite0/model/head/Relu6;efficientnet-lite0/model/head/tpu_batch_normalization/FusedBatchNormV3;"
    "efficientnet-lite0/head/conv2d/kernel;efficientnet-lite0/model/head/conv2d/Conv2D1"
)


def feature_map(square_rgb: np.ndarray) -> np.ndarray:
    """Float32 (7, 7, 1280), >= 0, of an RGB picture (224, 224, 3) with values from 0 to 255."""
    network = _network()
    given = (square_rgb.astype(np.float32) - 127) / 128
    network.set_tensor(network.get_input_details()[0]["index"], given[None])
    network.invoke()
    map_HWD: np.ndarray = network.get_tensor(network.get_output_details()[0]["index"])[0]
    return map_HWD


@per_thread
def _network() -> Any:
    from ai_edge_litert import schema_py_generated as schema

    model = bytearray(weights.path(WEIGHTS).read_bytes())
    graph = schema.Model.GetRootAsModel(model, 0).Subgraphs(0)
    names = [graph.Tensors(i).Name().decode() for i in range(graph.TensorsLength())]
    graph.OutputsAsNumpy()[0] = names.index(FEATURE_MAP)
    return interpreter(bytes(model))
