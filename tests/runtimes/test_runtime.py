from __future__ import annotations

from dataclasses import replace

import pytest

from packc.errors import PackError
from packc.ingest.source import Geometry
from packc.runtimes import RUNTIMES, aotinductor, aotinductor_cuda, find_runtime, openvino
from packc.runtimes.runtime import Runtime
from packc.target import Target
from packc.tensors import PRECISIONS
from sources import device, source_info


def test_every_runtime_is_found_by_its_name() -> None:
    names = [runtime.name for runtime in RUNTIMES]
    assert len(set(names)) == len(names)
    assert all(find_runtime(name).name == name for name in names)


def test_an_unknown_runtime_is_an_error() -> None:
    with pytest.raises(PackError, match="there is no runtime 'tvm'; there are onnxruntime"):
        find_runtime("tvm")


BERT = source_info("sentence-similarity", Geometry(layers=12, heads=12, hidden=768, ffn=3072))
RESNET = source_info("image-classification", None)
DEVICES = (
    device(native=PRECISIONS),
    device(native=PRECISIONS, isa=("avx512_bf16",)),
    replace(device("cuda", PRECISIONS), is_here=False),
)


@pytest.mark.parametrize("runtime", RUNTIMES, ids=lambda runtime: runtime.name)
@pytest.mark.parametrize("target", DEVICES, ids=["cpu", "cpu with bf16", "gpu"])
def test_the_precisions_of_a_runtime_are_those_of_its_candidates(
    runtime: Runtime, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aotinductor, "find_obstacle", lambda *_: None)
    monkeypatch.setattr(aotinductor_cuda, "find_obstacle", lambda *_: None)
    monkeypatch.setattr(openvino.OpenVino, "versions", lambda self: {"openvino": "1"})
    if target.kind not in runtime.kinds:
        return
    offered = [c for info in (BERT, RESNET) for c in runtime.candidates(info, target, PRECISIONS)[0]]
    assert {candidate.precision for candidate in offered} == set(runtime.precisions(target))
