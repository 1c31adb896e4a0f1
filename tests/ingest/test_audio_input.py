from __future__ import annotations

from typing import Any

import pytest

from packc.ingest.audio_input import read_audio_input
from packc.ingest.source import AudioInput


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (
            {"model_type": "whisper", "max_source_positions": 1500, "num_mel_bins": 80},
            AudioInput("input_features", (80, 3000), 3000),
        ),
        (
            {"model_type": "audio-spectrogram-transformer", "max_length": 1024, "num_mel_bins": 128},
            AudioInput("input_values", (1024, 128), 1024),
        ),
        (
            {"model_type": "wav2vec2-bert", "feature_projection_input_dim": 160},
            AudioInput("input_features", ("frames", 160), 100),
        ),
        (
            {
                "model_type": "hubert",
                "conv_stride": [5],
                "conv_kernel": [10],
                "conv_dim": [32],
                "feat_extract_activation": "gelu",
            },
            AudioInput("input_values", ("samples",), 16_000),
        ),
        ({"model_type": "bert", "vocab_size": 100}, None),
    ],
)
def test_what_an_audio_encoder_reads(config: dict[str, Any], expected: AudioInput | None) -> None:
    assert read_audio_input(config) == expected
