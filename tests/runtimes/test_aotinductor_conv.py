from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

import torch

from packc.runtimes.aotinductor import find_compiler
from packc.runtimes.aotinductor_conv import merge_relu
from packc.runtimes.aotinductor_package import convert_module

aten = torch.ops.aten


@pytest.fixture
def calls() -> Iterator[list[str]]:
    """cuDNN's operators on the CPU, and which of them were called, with what layout."""
    seen: list[str] = []

    def note(name: str, *tensors: torch.Tensor) -> None:
        last = all(tensor.is_contiguous(memory_format=torch.channels_last) for tensor in tensors)
        seen.append(f"{name}, channels {'last' if last else 'first'}")

    def relu(x: Any, weight: Any, bias: Any, *shape: Any) -> Any:
        note("relu", x, weight)
        return torch.relu(torch.nn.functional.conv2d(x, weight, bias, *shape))

    def add_relu(x: Any, weight: Any, z: Any, alpha: float, bias: Any, *shape: Any) -> Any:
        note("add_relu", x, weight, z)
        return torch.relu(torch.nn.functional.conv2d(x, weight, bias, *shape) + alpha * z)

    library = torch.library.Library("aten", "IMPL", "CPU")
    library.impl("cudnn_convolution_relu", relu)
    library.impl("cudnn_convolution_add_relu", add_relu)
    yield seen
    library._destroy()


class Block(torch.nn.Module):
    """A convolution that stays, and three that end in a ReLU: after a norm, after a sum, and right after it."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.norm = torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.BatchNorm2d(8)
        self.second, self.other = torch.nn.Conv2d(8, 16, 3, bias=False, padding=1), torch.nn.BatchNorm2d(16)
        self.third, self.again = torch.nn.Conv2d(16, 16, 1, bias=False), torch.nn.BatchNorm2d(16)
        self.last = torch.nn.Conv2d(16, 8, 3, stride=2)
        for norm in (self.norm, self.other, self.again):
            norm.running_mean.normal_()
            norm.running_var.uniform_(0.5, 2)
            torch.nn.init.normal_(norm.weight)
            torch.nn.init.normal_(norm.bias)

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor]:
        x = torch.relu(self.norm(self.first(tensors[0])))
        x = torch.relu(self.other(self.second(x)))
        y = self.again(self.third(x))
        y += x
        return (torch.relu(self.last(torch.relu(y))),)


def export(module: torch.nn.Module, *shape: int) -> Any:
    """With the batch open."""
    batch = torch.export.Dim("batch")
    with torch.no_grad():
        example = (torch.randn(shape),)
        return torch.export.export(module.eval(), example, dynamic_shapes={"tensors": ({0: batch},)}, strict=False)


def count(program: Any, operator: Any) -> int:
    return len(program.graph.find_nodes(op="call_function", target=operator))


def test_relu_ends_the_convolution_before_it(calls: list[str]) -> None:
    module, x = Block().eval(), torch.randn(5, 3, 9, 9)
    program, merged, found = merge_relu(export(module, 4, 3, 9, 9))
    assert (merged, found) == (3, 4)
    assert (count(program, aten.cudnn_convolution_relu.default), count(program, aten.relu.default)) == (2, 1)
    assert count(program, aten.conv2d.default) == 1, "three channels are none of tensor cores' sizes"
    torch.testing.assert_close(program.module()(x)[0], module(x)[0], atol=1e-5, rtol=1e-4)
    assert [call.split(",")[0] for call in calls] == ["relu", "add_relu", "relu"]


@pytest.mark.parametrize(
    ("function", "count_relus"),
    [
        (lambda c, x: torch.relu(c) + c, 1),
        (lambda c, x: torch.relu(c + x.mean()), 1),
        (lambda c, x: torch.relu(c * 2), 1),
        (lambda c, x: torch.sigmoid(c), 0),
    ],
    ids=["read twice", "a smaller summand", "something between", "another function"],
)
def test_what_is_something_else_stays(function: Any, count_relus: int) -> None:
    class Other(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = torch.nn.Conv2d(8, 8, 1)

        def forward(self, *tensors: torch.Tensor) -> torch.Tensor:
            return function(self.conv(tensors[0]), tensors[0])  # type: ignore[no-any-return]

    program, merged, found = merge_relu(export(Other(), 2, 8, 4, 4))
    assert (merged, found) == (0, count_relus)
    assert count(program, aten.conv2d.default) == 1


@pytest.mark.skipif(find_compiler() is None, reason="needs a C++ compiler")
def test_inductor_folds_the_norms_and_keeps_the_layout(calls: list[str], tmp_path: Path) -> None:
    module, x = Block().eval(), torch.randn(5, 3, 9, 9)
    converted = convert_module(copy.deepcopy(module), "bf16", channels_last=True)
    program, merged, _ = merge_relu(export(converted, 4, 3, 9, 9))
    settings = {"freezing": True, "force_layout_optimization": True, "aot_inductor.check_lowerbound": False}
    with torch.no_grad():
        torch._inductor.aoti_compile_and_package(
            program, package_path=str(tmp_path / "m.pt2"), inductor_configs=settings
        )
    calls.clear()
    loader = torch._C._aoti.AOTIModelPackageLoader(str(tmp_path / "m.pt2"), "model", True, 1, -1)
    for rows in (1, 5):
        with torch.inference_mode():
            (answer,) = loader.boxed_run([x[:rows].clone()])
        torch.testing.assert_close(answer, module(x[:rows])[0], atol=0.1, rtol=0.05)
    assert merged == 3
    assert calls == ["relu, channels last", "add_relu, channels last", "relu, channels last"] * 2
