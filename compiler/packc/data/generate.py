"""Makes samples when the spec names no data: enough to build and to time, not to judge quality by."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from packc.cache import Cache, cache_key
from packc.ingest.source import ImagePreprocessing, SourceInfo, TextPreprocessing
from packc.samples import RawSamples
from packc.spec.model import WorkloadSection

GENERATED = "generated"
TEXTS = 128
IMAGES = 32
TYPICAL_TOKENS = 24
"""Length of a text where the workload does not tell it."""

_WORDS = (
    "the a one this every small large old new quiet open early local public simple careful common broken distant "
    "city river teacher child market letter system answer garden machine story engine window paper number village "
    "question doctor winter company morning road music bridge science report meeting kitchen ship forest price "
    "opens finds carries explains follows reaches builds changes needs remembers writes leaves watches repairs "
    "under near after before with without between across against during through behind and but because while when "
    "slowly often never again today almost together quickly already well"
)
WORDS = tuple(_WORDS.split())
"""Common English words: each is one token, or few, to any tokenizer."""


def generate_samples(info: SourceInfo, workload: WorkloadSection, seed: int = 0) -> RawSamples:
    """Samples of the kind that the model reads, the same ones for the same arguments; their origin is "generated".

    Texts vary around the workload's typical length. Images are smooth random colours, written to the cache. For a model
    of tensors nothing is made here: ingest draws them from the exported graph's inputs.
    """
    if isinstance(info.preprocessing, TextPreprocessing):
        typical = workload.sequence.typical if workload.sequence else min(TYPICAL_TOKENS, info.preprocessing.max_length)
        return RawSamples(origin=GENERATED, texts=_make_texts(typical, seed))
    if isinstance(info.preprocessing, ImagePreprocessing):
        return RawSamples(origin=GENERATED, images=_make_images(info.preprocessing, seed))
    return RawSamples(origin=GENERATED)


def _make_texts(typical_tokens: int, seed: int) -> tuple[str, ...]:
    """Sentences of words drawn at random; their lengths in words spread log-normally around the typical one."""
    generator = np.random.default_rng(seed)
    typical_words = max(1, typical_tokens - 2)  # two special tokens
    lengths = np.clip(typical_words * generator.lognormal(0.0, 0.35, TEXTS), 1, 4 * typical_words).astype(int)
    return tuple(" ".join(generator.choice(WORDS, length)).capitalize() + "." for length in lengths)


def _make_images(how: ImagePreprocessing, seed: int) -> tuple[Path, ...]:
    def make(folder: Path) -> None:
        from PIL import Image

        generator = np.random.default_rng(seed)
        size = (how.width * 5 // 4, how.height * 5 // 4)
        for i in range(IMAGES):
            coarse = generator.integers(0, 256, (6, 6, 3), dtype=np.uint8)
            Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).save(folder / f"{i:04}.png")

    folder = Cache().get_or_make("images", cache_key(width=how.width, height=how.height, seed=seed, count=IMAGES), make)
    return tuple(sorted(folder.glob("*.png")))
