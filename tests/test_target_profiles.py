from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from goldens import check_golden
from gpu_driver import H200
from packc import target_profiles
from packc.errors import MissingError, ProfileError, TargetError
from packc.gpu import Gpu
from packc.resources import resource_dir
from packc.target import Target, derive_gpu_native
from packc.target_profiles import find_host_gpu, find_target, plan_target, read_profile, shipped_profiles
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
    assert not any(target.is_here for target in SHIPPED.values() if target.kind != "cuda")


def test_the_host_is_here() -> None:
    host = find_target("host", Path())
    assert (host.id, host.kind, host.is_here) == ("host", "cpu", True)


@pytest.fixture
def use_gpu(monkeypatch: pytest.MonkeyPatch) -> Callable[[Gpu | None], None]:
    """Puts that GPU, or none, into this machine."""
    return lambda gpu: monkeypatch.setattr(target_profiles, "find_gpu", lambda: gpu)


def test_a_shipped_profile_is_here_where_the_driver_calls_its_gpu_so(use_gpu: Callable[[Gpu | None], None]) -> None:
    use_gpu(H200)
    assert [target.id for target in shipped_profiles() if target.is_here] == ["nvidia-h200-sxm"]
    assert find_target("nvidia-h200-sxm", Path()).notes[0] == "Driver 570.86.15."
    assert find_target("nvidia-h200-sxm", Path()).warnings == ()
    use_gpu(replace(H200, processes=1))
    assert find_target("nvidia-h200-sxm", Path()).warnings[0].startswith("1 other process computes on this GPU now")
    use_gpu(replace(H200, name="NVIDIA H200 MIG 1g.18gb", units=16))
    assert not any(target.is_here for target in shipped_profiles())
    use_gpu(None)
    assert not any(target.is_here for target in shipped_profiles())


def test_the_host_gpu_has_the_figures_of_its_profile(use_gpu: Callable[[Gpu | None], None]) -> None:
    use_gpu(H200)
    gpu = find_target("host-gpu", Path())
    assert (gpu.id, gpu.kind, gpu.is_here, gpu.memory_gb) == ("host-gpu", "cuda", True, 150.1)
    assert gpu.dense_peak_tflops == find_target("nvidia-h200-sxm", Path()).dense_peak_tflops
    assert (gpu.profile, gpu.cache_mib, find_target("nvidia-h200-sxm", Path()).cache_mib) == ("nvidia-h200-sxm", 50, 50)
    use_gpu(replace(H200, name="NVIDIA H300"))
    unknown = find_host_gpu()
    assert unknown is not None
    assert (unknown.name, unknown.dense_peak_tflops, unknown.profile) == ("NVIDIA H300", {}, None)


def test_without_a_gpu_the_host_has_none(use_gpu: Callable[[Gpu | None], None]) -> None:
    use_gpu(None)
    with pytest.raises(MissingError) as failure:
        find_target("host-gpu", Path())
    assert failure.value.exit_code == 5
    check_golden("profiles/no_gpu.txt", failure.value.render() + "\n")


def test_a_plan_needs_no_gpu(use_gpu: Callable[[Gpu | None], None]) -> None:
    use_gpu(None)
    absent = plan_target("host-gpu", Path())
    assert (absent.id, absent.kind, absent.is_here, absent.memory_gb) == ("host-gpu", "cuda", False, None)
    use_gpu(H200)
    assert plan_target("host-gpu", Path()) == find_target("host-gpu", Path())
    assert plan_target("host", Path()).is_here


def test_native_precisions_follow_from_the_compute_capability() -> None:
    for target in SHIPPED.values():
        if target.compute_capability:
            assert derive_gpu_native(target.compute_capability) == target.native, target.id


def test_driver_names_belong_to_one_gpu_each() -> None:
    names = [name for path in resource_dir("targets").glob("nvidia-*.toml") for name in read_driver_names(path)]
    assert len(names) == len(set(names)) >= 10


def read_driver_names(path: Path) -> list[str]:
    return list(tomllib.loads(path.read_text("utf-8"))["driver_names"])


def test_targets_that_nothing_compiles_for_say_why() -> None:
    assert {target.id for target in SHIPPED.values() if target.unsupported} == {"aws-inf1", "jetson-agx-xavier-32gb"}
    assert "neuron-cc" in (find_target("aws-inf1", Path()).unsupported or "")


def test_unknown_target_suggests_a_near_one() -> None:
    with pytest.raises(TargetError, match='unknown target "nvidia-h100"') as failure:
        find_target("nvidia-h100", Path())
    assert failure.value.hint == 'did you mean "nvidia-h100-sxm"?'
    assert failure.value.exit_code == 2


@pytest.mark.parametrize(
    ("part", "hint"),
    [
        ("H200", 'did you mean "nvidia-h200-sxm"?'),
        ("a100", 'did you mean "nvidia-a100-40gb" or "nvidia-a100-80gb"?'),
        ("x", "`pack targets` lists them; a profile of your own is a .toml"),
    ],
)
def test_unknown_target_suggests_those_that_have_it_in_their_name(part: str, hint: str) -> None:
    with pytest.raises(TargetError) as failure:
        find_target(part, Path())
    assert failure.value.hint == hint


def test_own_profile_by_path(tmp_path: Path) -> None:
    (tmp_path / "board.toml").write_text(OWN)
    board = find_target("./board.toml", tmp_path)
    assert (board.id, board.units, board.native, board.memory_gb) == ("board", 4, ("fp32", "fp16"), None)
    assert find_target(str(tmp_path / "board.toml"), Path("/")) == board
    with pytest.raises(TargetError, match="there is no profile"):
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


def test_a_gpu_is_of_the_kind_cuda(tmp_path: Path) -> None:
    path = tmp_path / "board.toml"
    path.write_text(OWN.replace('kind = "cpu"', 'kind = "gpu"'))
    with pytest.raises(ProfileError) as failure:
        read_profile(path)
    assert failure.value.diagnostics[0].hint == 'did you mean "cuda"?', "and not cpu, which is spelt like it"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (OWN + 'native = ["fp32"]', "its native precisions follow"),
        (OWN.replace('kind = "cpu"', 'kind = "neuron"'), "has `native`"),
        (OWN.replace('isa = ["asimd", "asimdhp"]', 'native = ["fp32"]').replace('"cpu"', '"cuda"'), "they need it"),
        (OWN + "dense_peak_tflops.bf16 = 2.0", "bf16, which is not native"),
        (OWN + 'compute_capability = "8.99"', '^compute_capability: "8.99" is no compute .*: write it as in "8.9"$'),
        (OWN + 'compute_capability = "abc"', '"abc" is no compute capability'),
    ],
)
def test_kinds_have_their_own_keys(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "board.toml"
    path.write_text(text)
    with pytest.raises(ProfileError, match=message):
        read_profile(path)
