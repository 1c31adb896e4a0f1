from __future__ import annotations

from pathlib import Path

import pytest

from goldens import GOLDEN, check_golden
from packc.errors import SpecError
from packc.spec.model import Range
from packc.spec.read import read_spec

CASES = sorted(path.stem for path in (GOLDEN / "spec").glob("*.toml"))

GOOD = """
[model]
name = "minilm"
source = "{source}"

[workload]
batch = {{ typical = 1, max = 16 }}
sequence.typical = 32
sequence.max = 256

[quality]
data = "data/eval.jsonl"

[targets.cpu]
profile = "host"
"""


def write_spec(folder: Path, source: str) -> Path:
    (folder / "data").mkdir()
    (folder / "data" / "eval.jsonl").write_text('{"text": "x"}\n')
    path = folder / "spec.toml"
    path.write_text(GOOD.format(source=source))
    return path


@pytest.mark.parametrize("case", CASES)
def test_each_mistake_has_its_golden_text(case: str) -> None:
    with pytest.raises(SpecError) as failure:
        read_spec(GOLDEN / "spec" / f"{case}.toml")
    check_golden(f"spec/{case}.txt", failure.value.render().replace(str(GOLDEN / "spec"), "<dir>") + "\n")
    assert failure.value.exit_code == 2


def test_one_mistake_gives_one_diagnostic() -> None:
    for case in CASES:
        if case in ("several", "empty"):
            continue
        with pytest.raises(SpecError) as failure:
            read_spec(GOLDEN / "spec" / f"{case}.toml")
        assert len(failure.value.diagnostics) == 1, case


def test_mistakes_come_in_file_order() -> None:
    with pytest.raises(SpecError) as failure:
        read_spec(GOLDEN / "spec" / "several.toml")
    lines = [diagnostic.span.line for diagnostic in failure.value.diagnostics if diagnostic.span]
    assert lines == sorted(lines)
    assert len(lines) == 10


def test_paths_become_absolute_and_hub_ids_stay(tmp_path: Path) -> None:
    spec = read_spec(write_spec(tmp_path, "owner/model"))
    assert spec.model.source == "owner/model"
    assert spec.quality.data == str(tmp_path / "data" / "eval.jsonl")
    assert spec.workload.sequence == Range(typical=32, max=256)


def test_a_source_that_exists_is_a_path(tmp_path: Path) -> None:
    (tmp_path / "owner" / "model").mkdir(parents=True)
    spec = read_spec(write_spec(tmp_path, "owner/model"))
    assert spec.model.source == str(tmp_path / "owner" / "model")


def test_a_factory_stays(tmp_path: Path) -> None:
    assert read_spec(write_spec(tmp_path, "nets.small:make")).model.source == "nets.small:make"


def test_missing_file_suggests_the_one_that_is_there(tmp_path: Path) -> None:
    write_spec(tmp_path, "owner/model")
    with pytest.raises(SpecError, match="no such file") as failure:
        read_spec(tmp_path / "spce.toml")
    assert failure.value.diagnostics[0].hint == 'did you mean "spec.toml"?'
