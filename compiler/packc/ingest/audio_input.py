"""What an audio encoder reads, from its config: a waveform, or features of a fixed or an open number of frames."""

from __future__ import annotations

from packc.ingest.config import Config
from packc.ingest.source import AudioInput

SAMPLES_PER_SECOND = 16_000
FRAMES_PER_SECOND = 100
WAVEFORM_KEYS = frozenset({"conv_stride", "conv_kernel", "conv_dim"})
"""Keys of the wav2vec 2.0 family: convolutions over the raw waveform."""


def read_audio_input(config: Config) -> AudioInput | None:
    """The tensor that the model of `config` reads; None when it is no audio encoder that pack knows."""
    kind = config.get("model_type")
    if kind == "whisper":
        frames = 2 * int(config["max_source_positions"])  # a convolution of stride 2 halves them
        return AudioInput("input_features", (int(config["num_mel_bins"]), frames), frames)
    if kind == "audio-spectrogram-transformer":
        frames = int(config["max_length"])
        return AudioInput("input_values", (frames, int(config["num_mel_bins"])), frames)
    if kind == "wav2vec2-bert":
        width = int(config["feature_projection_input_dim"])
        return AudioInput("input_features", ("frames", width), FRAMES_PER_SECOND)
    if config.keys() >= WAVEFORM_KEYS and "feat_extract_activation" in config:
        return AudioInput("input_values", ("samples",), SAMPLES_PER_SECOND)
    return None
