from __future__ import annotations

from dataclasses import replace

import manifests
from packc.package.insight import LayerRecord, SensitivityRecord
from packc.report.sensitivity import collect_cells, describe_others, describe_sensitivity, draw_strip

RECORD = manifests.SENSITIVITY


def test_the_sentence_names_the_worst_layers_and_what_is_kept() -> None:
    manifest = replace(manifests.make_kept_manifest(), sensitivity=RECORD)
    assert describe_sensitivity(manifest) == (
        "int8 in one layer alone changes the answer most in attention key of block 3 (3.20 %), attention key of block "
        "2 (2.80 %), ffn down of block 3 (2.56 %), over 16 calibration samples; the chosen candidate keeps 3 of 25 "
        "layers, 6.00 % of the multiply-adds, in higher precision"
    )
    unkept = replace(RECORD, layers=tuple(replace(layer, is_kept=False) for layer in RECORD.layers))
    assert describe_sensitivity(replace(manifest, sensitivity=unkept)).endswith(
        "the chosen candidate keeps none of them in higher precision"
    )
    missed = replace(manifests.make_missed_manifest(), sensitivity=unkept)
    assert describe_sensitivity(missed).endswith("25 layers were measured")
    assert describe_sensitivity(manifests.make_kept_manifest()) == ""


def test_layers_of_one_part_share_a_cell() -> None:
    layers = [
        LayerRecord("gate", "ffn up", 0, 0.03, 0.3, True),
        LayerRecord("up", "ffn up", 0, 0.04, 0.3, False),
        LayerRecord("head", "other", None, 0.5, 0.4, False),
    ]
    (cell,) = collect_cells(layers)
    assert (round(cell.error, 6), cell.is_kept, cell.names) == (0.05, False, "gate, up")


def test_every_part_of_every_block_is_drawn() -> None:
    for upright in (False, True):
        strip = draw_strip(RECORD, 960, upright=upright)
        assert strip is not None
        assert strip.count('class="heat-cell"') == 24
        assert strip.count('class="heat-kept"') == 3
        assert "attention key, block 3: 3.20 %, kept in higher precision (layer3_key)" in strip


def test_many_blocks_have_cells_without_figures() -> None:
    layers = tuple(LayerRecord(f"l{i}", "ffn up", i, 0.01, 0.01, False) for i in range(48))
    strip = draw_strip(SensitivityRecord("onnxruntime", 4, layers), 960, upright=False)
    assert strip is not None
    assert strip.count("heat-cell") == 48
    assert "heat-figure" not in strip


def test_layers_outside_the_blocks_are_listed() -> None:
    assert describe_others(RECORD) == "classifier 0.600 %"
    other = replace(RECORD, layers=(replace(RECORD.layers[-1], is_kept=True),))
    assert describe_others(other) == "classifier 0.600 % (kept)"
    assert draw_strip(other, 960, upright=False) is None
