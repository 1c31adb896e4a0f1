"""What a config needs besides shrinking, by model type or by class: values that depend on each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

RESNET: Mapping[str, Any] = {
    "model_type": "resnet",
    "embedding_size": 8,
    "hidden_sizes": [8, 8, 16, 16],
    "depths": [1, 1, 1, 1],
    "layer_type": "basic",
    "out_features": ["stage4"],
}
"""A backbone in the place of one that the package timm would bring."""

WINDOWS: Mapping[str, Any] = {"depths": [1, 1], "num_heads": [1, 2], "window_size": 4}
"""Two stages of windows that fit the small image."""

OVERRIDES: Mapping[str, Mapping[str, Any]] = {
    "conditional_detr": {"backbone_config": RESNET},
    "dab-detr": {"backbone_config": RESNET},
    "deformable_detr": {"backbone_config": {**RESNET, "out_features": ["stage2", "stage3", "stage4"]}},
    "donut-swin": WINDOWS,
    "detr": {"backbone_config": RESNET},
    "efficientnet": {"hidden_dim": 2560},
    "esm": {"vocab_size": 64},
    "layoutlmv3": {"coordinate_size": 6, "shape_size": 4},
    "lilt": {"hidden_size": 48},
    "maskformer-swin": WINDOWS,
    "mobilebert": {"true_hidden_size": 32, "intra_bottleneck_size": 32},
    "reformer": {"axial_pos_embds": False},
    "swin": WINDOWS,
    "swinv2": WINDOWS,
    "table-transformer": {"backbone_config": RESNET},
    "xmod": {"default_language": "en_XX"},
}
