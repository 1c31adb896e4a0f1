from __future__ import annotations

import re
from pathlib import Path

import pytest

from goldens import check_golden
from packc.errors import ProfileError, TargetError
from packc.resources import resource_dir
from packc.target import Target
from packc.target_profiles import find_target, read_profile, shipped_profiles
from packc.tensors import PRECISIONS

SHIPPED = {target.id: target for target in shipped_profiles()}

OWN = """
name = "A board"
kind = "cpu"
arch = "armv8"
units = 4
isa = ["asimd", "asimdhp"]
"""


def test_every_file_is_read() -> None:
    assert set(SHIPPED) == {path.stem for path in resource_dir("targets").glob("*.toml")}
    assert {target.kind for target in SHIPPED.values()} == {"cpu", "cuda", "jetson", "neuron"}


@pytest.mark.parametrize("target", SHIPPED.values(), ids=SHIPPED)
def test_every_figure_has_an_origin(target: Target) -> None:
    figures = {"units"}
    figures |= {name for name in ("memory_gb", "bandwidth_gb_s", "compute_capability") if getattr(target, name)}
    figures |= {"isa"} if target.isa else set()
    figures |= {"unsupported"} if target.unsupported else set()
    peaks = set(target.dense_peak_tflops)
    assert figures <= set(target.sources)
    assert peaks <= set(target.sources) or "dense_peak_tflops" in target.sources
    assert set(target.sources) <= figures | peaks | {"native", "dense_peak_tflops"}


@pytest.mark.parametrize("target", SHIPPED.values(), ids=SHIPPED)
def test_every_origin_says_how_sure_it_is(target: Target) -> None:
    for figure, source in target.sources.items():
        assert re.match(r"(seen|secondary|derived|recalled): \S", source), (figure, source)


@pytest.mark.parametrize("target", SHIPPED.values(), ids=SHIPPED)
def test_derived_figures_are_what_their_arithmetic_gives(target: Target) -> None:
    for figure, source in target.sources.items():
        if not source.startswith("derived: "):
            continue
        value = target.dense_peak_tflops[figure] if figure in PRECISIONS else getattr(target, figure)
        if source == "derived: as fp16":
            assert value == target.dense_peak_tflops["fp16"]
            continue
        terms, result = source.removeprefix("derived: ").split(";")[0].split(" = ")
        assert value == float(result)
        assert evaluate(terms) == pytest.approx(value, rel=0.005), source


def evaluate(terms: str) -> float:
    """`12 channels x 4800 MT/s x 8 B` in GB/s, `16 SMs x 4096 x 1.3 GHz` in TOP/s, `70 / 2` as it stands."""
    product = 1.0
    for sign, number in re.findall(r"(?:^|( [x/] ))(\d+(?:\.\d+)?)", terms):
        product = product / float(number) if sign == " / " else product * float(number)
    return product / 1e3 if "MT/s" in terms or "GHz" in terms else product


def test_known_figures() -> None:
    l4 = SHIPPED["nvidia-l4"]
    assert (l4.compute_capability, l4.units, l4.memory_gb, l4.dense_peak_tflops["fp16"]) == ("8.9", 58, 24.0, 121.0)
    assert SHIPPED["cpu-intel-sapphirerapids"].native == ("fp32", "bf16", "fp16", "int8")
    assert SHIPPED["cpu-amd-turin"].native == ("fp32", "bf16", "int8")
    assert "bf16" not in SHIPPED["nvidia-t4"].native
    assert not any(target.is_here for target in SHIPPED.values())


def test_the_host_is_here() -> None:
    host = find_target("host", Path())
    assert (host.id, host.kind, host.is_here) == ("host", "cpu", True)


def test_targets_that_nothing_compiles_for_say_why() -> None:
    assert {target.id for target in SHIPPED.values() if target.unsupported} == {"aws-inf1", "jetson-agx-xavier-32gb"}
    assert "neuron-cc" in (find_target("aws-inf1", Path()).unsupported or "")


def test_unknown_target_suggests_a_near_one() -> None:
    with pytest.raises(TargetError, match='unknown target "nvidia-h100"') as failure:
        find_target("nvidia-h100", Path())
    assert failure.value.hint == 'did you mean "nvidia-h100-sxm"?'
    assert failure.value.exit_code == 2


def test_own_profile_by_path(tmp_path: Path) -> None:
    (tmp_path / "board.toml").write_text(OWN)
    board = find_target("./board.toml", tmp_path)
    assert (board.id, board.units, board.native, board.memory_gb) == ("board", 4, ("fp32", "fp16"), None)
    assert find_target(str(tmp_path / "board.toml"), Path("/")) == board
    with pytest.raises(ProfileError, match="no such file"):
        find_target("./bord.toml", tmp_path)


def test_mistakes_of_an_own_profile_have_their_golden_text(tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(
        OWN.replace('"cpu"', '"cpus"').replace("asimdhp", "asimdph")
        + "unit = 4\nmemory_gb = -8\n\n[dense_peak_tflops]\nfp33 = 1.0\n\n[sources]\nunit = 'seen: me'\n"
    )
    with pytest.raises(ProfileError) as failure:
        read_profile(path)
    check_golden("profiles/bad.txt", failure.value.render().replace(str(tmp_path), "<dir>") + "\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (OWN + 'native = ["fp32"]', "its native precisions follow"),
        (OWN.replace('kind = "cpu"', 'kind = "neuron"'), "has `native`"),
        (OWN.replace('isa = ["asimd", "asimdhp"]', 'native = ["fp32"]').replace('"cpu"', '"cuda"'), "they need it"),
        (OWN + "dense_peak_tflops.bf16 = 2.0", "bf16, which is not native"),
    ],
)
def test_kinds_have_their_own_keys(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "board.toml"
    path.write_text(text)
    with pytest.raises(ProfileError, match=message):
        read_profile(path)
