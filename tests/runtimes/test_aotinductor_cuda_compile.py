from __future__ import annotations

import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from packc.candidate import PassStep
from packc.errors import PackError
from packc.ingest.inspect import inspect_source
from packc.ingest.load_source import load_source
from packc.ingest.reference import TorchReference
from packc.runtimes import aotinductor_cuda_compile as compiler
from packc.runtimes import aotinductor_cuda_facts as engine_facts
from packc.runtimes.aotinductor_cuda_compile import (
    Made,
    choose_size,
    compile_model,
    compile_reference,
    make_settings,
    resize_example,
    set_tf32,
    tell_unmerged,
)
from packc.runtimes.compile import CompileRequest
from packc.spec.model import ModelSection
from torch_cuda_engine import engine

MADE = Made("2.11.0", "13.0", "9.0", "NVIDIA H200")


@pytest.fixture(autouse=True)
def unchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the compiler and the loader of factories set for their own process."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in ("TORCHINDUCTOR_CACHE_DIR", "CXX", "CUDA_HOME", "CPATH", "LIBRARY_PATH"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


@pytest.fixture
def reference(scorer_request: CompileRequest) -> TorchReference:
    assert scorer_request.info is not None
    return load_source(scorer_request.info, scorer_request.search_path)


def test_settings_of_the_compiler(reference: TorchReference) -> None:
    settings = make_settings(reference, MADE, nhwc=True)
    metadata = settings.pop("aot_inductor.metadata")
    assert 1 <= settings.pop("compile_threads") <= compiler.MOST_WORKERS
    assert settings == {
        "freezing": True,
        "force_layout_optimization": True,
        "aot_inductor.check_lowerbound": False,
        "aot_inductor.compile_wrapper_opt_level": "O0",
        "aot_inductor.precompile_headers": False,
        "aot_inductor.enable_line_tables": False,
    }
    assert metadata == {
        "pack.torch": "2.11.0",
        "pack.cuda": "13.0",
        "pack.capability": "9.0",
        "pack.gpu": "NVIDIA H200",
        "pack.inputs": '["features", "shift"]',
        "pack.outputs": '["scores", "best"]',
    }


def test_what_is_compiled_is_the_source_in_its_precision(
    reference: TorchReference, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the CPU: only the device and what is known of it are stand-ins."""
    monkeypatch.setattr(compiler, "DEVICE", "cpu")
    monkeypatch.setattr(compiler, "describe_device", lambda: MADE)
    monkeypatch.setattr(compiler, "require_gpu", lambda: None)
    features = torch.randn(5, 8)
    wanted = reference.answer({"features": features.numpy(), "shift": np.full(5, 10)})["scores"]
    remarks = compile_reference(reference, {"precision": "fp16", "gelu": True, "relu": True}, tmp_path)
    assert remarks == (
        "torch-cuda: runs in torch 2.11.0 with CUDA 13.0, on GPUs of compute capability 9.0 (NVIDIA H200) alone",
        "torch-cuda: the program has no GELU, so none was merged",
        f"torch-cuda: 0 of 1 ReLUs were merged: {compiler.NO_PLACE['ReLU']}",
    )
    facts = engine_facts.read_facts(str(tmp_path / "model.pt2"))
    assert facts == engine_facts.Facts(
        "2.11.0", "13.0", "9.0", "NVIDIA H200", ("features", "shift"), ("scores", "best")
    )
    loader = torch._C._aoti.AOTIModelPackageLoader(str(tmp_path / "model.pt2"), "model", True, 1, -1)
    scores, best = loader.boxed_run([features, torch.full((5,), 10)])
    np.testing.assert_allclose(scores.numpy(), wanted, atol=0.01)
    np.testing.assert_array_equal(best.numpy(), scores.numpy().argmax(1) + 10)


@pytest.mark.parametrize(
    ("merged", "found", "remarks"),
    [
        (0, 0, ("torch-cuda: the program has no GELU, so none was merged",)),
        (0, 2, (f"torch-cuda: 0 of 2 GELUs were merged: {compiler.NO_PLACE['GELU']}",)),
        (1, 2, (f"torch-cuda: 1 of 2 GELUs were merged: {compiler.NO_PLACE['GELU']}",)),
        (2, 2, ()),
    ],
)
def test_what_was_not_merged_is_told(merged: int, found: int, remarks: tuple[str, ...]) -> None:
    assert tell_unmerged("GELU", merged, found) == remarks


@pytest.mark.parametrize(("batch", "is_fixed", "traced"), [(1, False, 2), (1, True, 1), (5, False, 5)])
def test_the_example_has_the_usual_shape(reference: TorchReference, batch: int, is_fixed: bool, traced: int) -> None:
    resized = resize_example(reference, [batch, 8], is_fixed=is_fixed)
    assert {name: tuple(t.shape) for name, t in resized.example.items()} == {
        "features": (traced, 8),
        "shift": (traced,),
    }
    assert resized.dynamic == ({} if is_fixed else reference.dynamic)
    torch.testing.assert_close(resized.example["features"][0], reference.example["features"][0])


def test_other_axes_are_repeated_or_cut_too(reference: TorchReference) -> None:
    ids = torch.tensor([[7, 8, 9], [4, 5, 6]])
    text = replace(reference, example={"ids": ids}, dynamic={0: ("batch", None), 1: ("sequence", 512)})
    assert resize_example(text, [2, 5], is_fixed=False).example["ids"].tolist() == [[7, 8, 9, 7, 8], [4, 5, 6, 4, 5]]
    assert resize_example(text, [3, 2], is_fixed=False).example["ids"].tolist() == [[7, 8], [4, 5], [7, 8]]


@pytest.mark.parametrize(
    ("axis", "usual", "traced"), [(0, 32, 32), (0, 1, 2), (1, 128, 129), (1, 512, 511), (1, 31, 31), (1, 1, 2)]
)
def test_what_is_traced_holds_for_all_lengths(axis: int, usual: int, traced: int) -> None:
    assert choose_size(axis, usual, 512) == traced
    assert choose_size(1, 512, None) == 513


def test_without_a_gpu_there_is_nothing_to_compile_for(scorer_request: CompileRequest, tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    request = replace(scorer_request, step=PassStep("torch", {"precision": "fp16"}), out=tmp_path)
    with pytest.raises(PackError, match=r"^torch \S+ finds no GPU here to compile for$"):
        compile_model(request)


def test_tf32_is_said_to_products_and_to_convolutions(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    try:
        found = []
        for is_on in (True, False):
            set_tf32(is_on)
            found.append((torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32))
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]
    assert found == [("high", True), ("highest", False)]


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "tf32", "fp16"])
def test_a_package_answers_as_its_source_on_the_gpu(
    scorer_request: CompileRequest, reference: TorchReference, tmp_path: Path, precision: str
) -> None:
    if not torch.cuda.is_available():
        pytest.skip("this torch finds no GPU")
    compile_model(replace(scorer_request, step=PassStep("torch", {"precision": precision}), out=tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["model.pt2"]
    with zipfile.ZipFile(tmp_path / "model.pt2") as archive:
        assert not [name for name in archive.namelist() if str(tmp_path) in name]
    session = engine.load(str(tmp_path / "model.pt2"), {"graph": True, "tf32": precision == "tf32"}, 1)
    for rows in (3, 3, 3, 1, 1):
        feed = {"features": np.random.default_rng(rows).normal(size=(rows, 8)).astype(np.float32),
                "shift": np.full(rows, 10)}  # fmt: skip
        found, wanted = engine.run(session, feed), reference.answer(feed)
        np.testing.assert_allclose(found["scores"], wanted["scores"], atol=1e-5 if precision == "fp32" else 0.01)
        np.testing.assert_array_equal(found["best"], found["scores"].argmax(1) + 10)
    assert session.graphs == 2
    assert engine.describe(session)["torch"] == torch.__version__.partition("+")[0]


@pytest.mark.gpu
def test_texts_of_all_lengths_fit_a_program_on_the_gpu(tiny_bert_dir: Path, tmp_path: Path) -> None:
    if not torch.cuda.is_available():
        pytest.skip("this torch finds no GPU")
    info = inspect_source(ModelSection(name="m", source=str(tiny_bert_dir)))
    step = PassStep("torch", {"precision": "fp16", "gelu": True, "usual": "4x16"})
    compile_model(CompileRequest("", Path(), step, None, None, tmp_path, info))
    reference = load_source(info, ())
    session = engine.load(str(tmp_path / "model.pt2"), {"graph": True}, 1)
    for rows, length in ((1, 2), (4, 16), (3, 9), (2, 8)):
        feed = {name: np.ones((rows, length), np.int64) for name in reference.inputs}
        feed["attention_mask"][0, 1:] = 0
        wanted = reference.answer(feed)
        for _ in range(3):
            for name, found in engine.run(session, feed).items():
                np.testing.assert_allclose(found, wanted[name], atol=0.02)
