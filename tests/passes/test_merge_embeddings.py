from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from graphs import apply_pass, count_nodes, make_context, parse_graph, random_weights, run_model
from packc.passes.graph_pass import PassError
from packc.passes.merge_embeddings import MergeEmbeddings

EMBEDDINGS = """
agraph (int64[batch, length] ids, int64[batch, length] kinds) => (float[batch, length, 8] y)
<int64 zero = {0}, int64 one = {1}, int64[1] axis = {0}> {
   sizes = Shape<start = 1, end = 2>(ids)
   size = Squeeze(sizes)
   row = Range(zero, size, one)
   places = Unsqueeze(row, axis)
   word = Gather(words, ids)
   kind = Gather(segments, kinds)
   place = Gather(positions, places)
   first = Add(word, kind)
   total = Add(first, place)
   y = LayerNormalization<axis = -1, epsilon = 0.001>(total, scale, shift)
}
"""
WEIGHTS = {
    "words": random_weights(50, 8), "segments": random_weights(2, 8, seed=1),
    "positions": random_weights(16, 8, seed=2),
    "scale": random_weights(8, seed=3), "shift": random_weights(8, seed=4),
}  # fmt: skip
IDS = np.array([[7, 3, 9, 1, 0], [1, 2, 3, 4, 5]])
KINDS = np.array([[0, 0, 1, 1, 1], [0, 0, 0, 0, 0]])


def make_model(text: str = EMBEDDINGS) -> ir.Model:
    return parse_graph(text, WEIGHTS)


def test_merge_embeddings_makes_one_operator_without_positions(tmp_path: Path) -> None:
    model = make_model()
    before = run_model(model, ids=IDS, kinds=KINDS)
    report = apply_pass(MergeEmbeddings(), model, make_context(tmp_path))
    assert count_nodes(model) == {"Cast": 2, "EmbedLayerNormalization": 1}
    assert report.fused == 1
    np.testing.assert_allclose(run_model(model, ids=IDS, kinds=KINDS)[0], before[0], atol=1e-5)


def test_merge_embeddings_does_without_segments(tmp_path: Path) -> None:
    text = EMBEDDINGS.replace("first = Add(word, kind)\n", "").replace("Add(first, place)", "Add(word, place)")
    model = make_model("\n".join(line for line in text.splitlines() if "kind = " not in line))
    before = run_model(model, ids=IDS, kinds=KINDS)
    apply_pass(MergeEmbeddings(), model, make_context(tmp_path))
    np.testing.assert_allclose(run_model(model, ids=IDS, kinds=KINDS)[0], before[0], atol=1e-5)


def test_merge_embeddings_leaves_positions_from_one_on_alone(tmp_path: Path) -> None:
    text = EMBEDDINGS.replace("row = Range(zero, size, one)", "row0 = Range(zero, size, one)\n row = Add(row0, one)")
    reason = MergeEmbeddings().requires(make_model(text), make_context(tmp_path))
    assert reason == "no LayerNormalization reads embeddings of tokens at positions from 0 on"


def test_merge_embeddings_ensures_that_none_is_left(tmp_path: Path) -> None:
    with pytest.raises(PassError, match="still reads embeddings"):
        MergeEmbeddings().ensures(make_model(), make_context(tmp_path))
