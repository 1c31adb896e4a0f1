from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from graphs import apply_pass, make_context, parse_graph, random_weights, run_model
from packc.passes import prune_structure
from packc.passes.blocks import find_blocks
from packc.passes.fuse_attention import FuseAttention
from packc.passes.graph_pass import PassError
from packc.passes.prune_structure import PruneStructure, choose_units
from shrinkable import make_attention_block, make_feed_forward

DEAD = [1, 6, 7, 12]
TEXTS = [{"x": random_weights(20, 50, 8, seed=seed), "mask": np.ones((20, 50), np.int64)} for seed in range(8)]
ROWS = [{"x": random_weights(8192, 8, seed=4)}]


def test_prune_structure_removes_dead_neurons_exactly(tmp_path: Path) -> None:
    up, bias = random_weights(8, 16), random_weights(16, seed=1)
    up[:, DEAD], bias[DEAD] = 0, -1
    model = make_feed_forward(up=up, b=bias)
    before = run_model(model, **ROWS[0])[0]
    report = apply_pass(PruneStructure(), model, make_context(tmp_path, samples=ROWS, share=0.25))
    (block,) = find_blocks(model)
    assert block.units == 12
    kept = block.into[0].weights.const_value
    assert kept is not None
    np.testing.assert_array_equal(kept.numpy(), np.delete(up, DEAD, axis=1))
    np.testing.assert_allclose(run_model(model, **ROWS[0])[0], before, atol=2e-2)
    assert report.warnings == ("prune_structure: 1 of 2 blocks pruned; the rest is as it was",)


def test_prune_structure_merges_a_neuron_with_its_twin(tmp_path: Path) -> None:
    up, bias = random_weights(8, 16), random_weights(16, seed=1)
    up[:, 8:], bias[8:] = up[:, :8], bias[:8]
    model = make_feed_forward(up=up, b=bias)
    before = run_model(model, **ROWS[0])[0]
    apply_pass(PruneStructure(), model, make_context(tmp_path, samples=ROWS, share=0.5))
    assert find_blocks(model)[0].units == 8
    np.testing.assert_allclose(run_model(model, **ROWS[0])[0], before, atol=0.05)


def test_prune_structure_removes_the_head_that_says_nothing(tmp_path: Path) -> None:
    values = random_weights(8, 8, seed=2)
    values[:, 4:] = 0
    model = make_attention_block(wv=values)
    apply_pass(FuseAttention(), model, make_context(tmp_path))
    before = run_model(model, **TEXTS[0])[0]
    apply_pass(PruneStructure(), model, make_context(tmp_path, samples=TEXTS, share=0.5))
    (block,) = find_blocks(model)
    assert (block.units, block.unit_width) == (1, 4)
    kept = block.into[2].weights.const_value
    assert kept is not None
    np.testing.assert_array_equal(kept.numpy(), values[:, :4])
    np.testing.assert_allclose(run_model(model, **TEXTS[0])[0], before, atol=2e-2)


def test_making_up_is_better_than_leaving_out() -> None:
    activations = random_weights(4000, 16, seed=5) @ random_weights(16, 16, seed=6)
    ones = np.concatenate([activations, np.ones((4000, 1), np.float32)], axis=1).astype(np.float64)
    rows = random_weights(17, 8, seed=7).astype(np.float64)
    kept, made_up = choose_units(ones.T @ ones, rows, 16, 4)
    places = [*kept, 16]
    error = np.linalg.norm(ones[:, places] @ made_up[places] - ones @ rows)
    assert error < 0.8 * np.linalg.norm(ones[:, places] @ rows[places] - ones @ rows)
    best = np.linalg.lstsq(ones[:, places], ones @ rows, rcond=None)[0]
    np.testing.assert_allclose(error, np.linalg.norm(ones[:, places] @ best - ones @ rows), rtol=1e-2)


def test_the_fewer_tokens_the_less_is_made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """What holds for fewer tokens than units need not hold for others."""
    rows, mixing = random_weights(33, 8, seed=7).astype(np.float64), random_weights(32, 32, seed=6)

    def draw(tokens: int, seed: int) -> np.ndarray:
        activations = random_weights(tokens, 32, seed=seed) @ mixing
        return np.concatenate([activations, np.ones((tokens, 1), np.float32)], axis=1).astype(np.float64)

    def find_error(ridge: float) -> float:
        monkeypatch.setattr(prune_structure, "RIDGE", ridge)
        kept, made_up = choose_units(seen.T @ seen, rows, 32, 8)
        places = [*kept, 32]
        return float(np.linalg.norm(others[:, places] @ made_up[places] - others @ rows))

    seen, others = draw(24, 1), draw(2000, 2)
    assert find_error(prune_structure.RIDGE) < 0.9 * find_error(1e-6)


def test_prune_structure_says_what_it_cannot_do(tmp_path: Path) -> None:
    prune, model = PruneStructure(), make_feed_forward()
    assert prune.requires(model, make_context(tmp_path, None, share=0.5)) == "the model's geometry is not known"
    nothing = "the graph has no attention or feed-forward block to shrink"
    assert prune.requires(model, make_context(tmp_path, share=0.01)) == nothing
    plain = parse_graph("agraph (float[4] x) => (float[4] y) { y = Sqrt(x) }")
    assert prune.requires(plain, make_context(tmp_path, share=0.5)) == nothing
    with pytest.raises(PassError, match="no calibration samples"):
        prune.apply(model, make_context(tmp_path, share=0.5))
    with pytest.raises(PassError, match=r"share is 1\.5, and must be above 0 and at most 0.9"):
        prune.requires(model, make_context(tmp_path, share=1.5))


def test_prune_structure_ensures_finite_weights(tmp_path: Path) -> None:
    model = make_feed_forward(down=np.full((16, 8), np.nan, np.float32))
    with pytest.raises(PassError, match="no longer finite"):
        PruneStructure().ensures(model, make_context(tmp_path, share=0.5))
