from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch")

import torch

from packc.candidate import PassStep
from packc.errors import PackError
from packc.ingest.inspect import inspect_source
from packc.runtimes import aotinductor_package
from packc.runtimes.aotinductor_package import (
    choose_compiler,
    convert_module,
    find_problem,
    keep_known,
    load_module,
    open_scratch,
    write_compiler,
    write_package,
)
from packc.runtimes.compile import CompileRequest
from packc.spec.model import ModelSection


@pytest.fixture(autouse=True)
def unchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the compiler and the loader of factories set for their own process."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in ("TORCHINDUCTOR_CACHE_DIR", "CXX"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


def test_inductor_writes_into_a_folder_that_goes_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aotinductor_package, "choose_compiler", lambda folder: (("/usr/bin/mine",), ("a remark",)))
    with open_scratch() as scratch:
        assert aotinductor_package.os.environ["TORCHINDUCTOR_CACHE_DIR"] == str(scratch.folder)
        assert aotinductor_package.os.environ["CXX"] == "/usr/bin/mine"
        assert scratch.folder.is_dir()
        assert scratch.remarks == ("a remark",)
    assert not scratch.folder.exists()


needs_gcc = pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")


@needs_gcc
def test_a_compiler_shares_the_library_of_cpp(tmp_path: Path) -> None:
    assert find_problem(["g++"], tmp_path) is None
    assert find_problem(["g++", "-static-libstdc++"], tmp_path) == "links C++'s library statically"
    assert str(find_problem(["false"], tmp_path)).startswith("compiles nothing: "), "whatever was compiled before"
    assert "No such file" in str(find_problem(["/no/such/compiler"], tmp_path))


@needs_gcc
def test_a_compiler_that_would_make_packages_crash_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", "g++")
    assert choose_compiler(tmp_path) == ((shutil.which("g++"),), ())
    monkeypatch.setenv("CXX", "g++ -static-libstdc++")
    command, remarks = choose_compiler(tmp_path)
    assert command == (shutil.which("g++"),)
    assert "links C++'s library statically" in remarks[0]
    monkeypatch.setattr(aotinductor_package, "COMPILERS", ())
    with pytest.raises(PackError, match=r"no C\+\+ compiler makes what PyTorch can load: .* links C\+\+'s library"):
        choose_compiler(tmp_path)


def test_a_compiler_of_several_words_becomes_one(tmp_path: Path) -> None:
    assert write_compiler(tmp_path, ["/usr/bin/g++"]) == Path("/usr/bin/g++")
    program = write_compiler(tmp_path, ["/bin/echo", "a b", "clang++"])
    told = subprocess.run([program, "-c", "x y"], capture_output=True, text=True, check=True).stdout
    assert (program.name, told) == ("clang++", "a b clang++ -c x y\n")
    assert write_compiler(tmp_path, ["/bin/echo", "g++-12"]).name == "g++"


def test_a_setting_that_this_torch_lacks_is_left_out() -> None:
    kept = keep_known({"freezing": True, "aot_inductor.from_another_torch": True})
    assert kept == {"freezing": True}


def test_fused_attention_is_taken_where_the_model_has_it(
    tiny_bert_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = inspect_source(ModelSection(name="m", source=str(tiny_bert_dir)))
    request = CompileRequest("", Path(), PassStep("torch"), None, Path(), tmp_path, info)
    reference, remarks = load_module(request)
    assert (reference.module.model.config._attn_implementation, remarks) == ("sdpa", ())
    loaded = []

    def load(info: object, search_path: object, attention: str) -> object:
        loaded.append(attention)
        if attention == "sdpa":
            raise ValueError("Tiny does not support `torch.nn.functional.scaled_dot_product_attention` yet")
        return reference

    monkeypatch.setattr(aotinductor_package, "load_source", load)
    assert "separate operators" in load_module(request)[1][0]
    assert loaded == ["sdpa", "eager"]


def test_a_precision_that_is_not_there_is_an_error() -> None:
    with pytest.raises(PackError, match="precision=int8: PyTorch modules are compiled in fp32, tf32, bf16, fp16"):
        convert_module(torch.nn.Identity(), "int8")


class Images(torch.nn.Module):
    """Remembers what it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Conv2d(3, 4, 1)
        self.given: list[torch.Tensor] = []

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        self.given = list(tensors)
        return (self.layer(tensors[0]), tensors[1])


def test_a_module_computes_in_its_precision_and_answers_as_before() -> None:
    module, images, ids = Images().eval(), torch.randn(2, 3, 4, 4), torch.arange(2)
    wanted = module(images, ids)[0]
    answer, same = convert_module(module, "fp16")(images, ids)
    assert (module.given[0].dtype, module.given[1].dtype, module.layer.weight.dtype) == (
        torch.float16,
        torch.int64,
        torch.float16,
    )
    assert (answer.dtype, same.dtype) == (torch.float32, torch.int64)
    torch.testing.assert_close(answer, wanted, atol=0.01, rtol=0.01)


def test_images_have_their_channels_last_inside_alone() -> None:
    module, images = Images().eval(), torch.randn(2, 3, 4, 4)
    wanted = module(images, images[0, 0])[0]
    answer, _ = convert_module(module, "tf32", channels_last=True)(images, images[0, 0])
    assert [tensor.stride() for tensor in module.given] == [(48, 1, 12, 3), (4, 1)]
    assert module.layer.weight.is_contiguous(memory_format=torch.channels_last)
    assert answer.is_contiguous()
    torch.testing.assert_close(answer, wanted)


def test_a_module_that_needs_no_change_is_not_wrapped() -> None:
    module = torch.nn.Identity()
    assert convert_module(module, "tf32") is module


def test_without_a_source_there_is_nothing_to_compile(scorer_request: CompileRequest) -> None:
    with pytest.raises(PackError, match="the request names none"):
        load_module(replace(scorer_request, info=None))


def test_what_torch_cannot_compile_is_one_line(
    scorer_request: CompileRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(reference: object, *, is_lenient: bool) -> object:
        raise RuntimeError("Unsupported operator\n  frobnicate")

    monkeypatch.setattr(aotinductor_package, "trace_module", fail)
    with pytest.raises(PackError, match="AOTInductor failed: RuntimeError: Unsupported operator frobnicate"):
        write_package(load_module(scorer_request)[0], {}, tmp_path)
