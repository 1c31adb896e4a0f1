from __future__ import annotations

from pathlib import Path

import pytest

from packc.errors import SourceError
from packc.ingest.config import read_config, read_geometry, read_labels
from packc.ingest.source import Geometry


def test_missing_file_is_an_empty_config(tmp_path: Path) -> None:
    assert read_config(tmp_path / "config.json") == {}


def test_a_list_is_no_config(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("[1]")
    with pytest.raises(SourceError, match="not a JSON object"):
        read_config(tmp_path / "config.json")


def test_geometry_under_the_names_of_distilbert() -> None:
    config = {"n_layers": 6, "n_heads": 12, "dim": 768, "hidden_dim": 3072}
    assert read_geometry(config) == Geometry(layers=6, heads=12, hidden=768, ffn=3072)


def test_no_geometry_without_heads() -> None:
    assert read_geometry({"hidden_sizes": [64, 128], "depths": [2, 2]}) is None


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        ({"0": "crane", "1": "cat", "2": "crane"}, ("crane (0)", "cat", "crane (2)")),
        ({"0": "a", "1": "a", "2": "a (1)"}, ("a (0)", "a (1) (1)", "a (1) (2)")),
        ({"1": "b", "0": "a"}, ("a", "b")),
        ({"0": "a", "2": "c"}, ()),
        (None, ()),
        ({"x": "a"}, ()),
    ],
)
def test_labels(names: object, labels: tuple[str, ...]) -> None:
    assert read_labels({"id2label": names}) == labels
