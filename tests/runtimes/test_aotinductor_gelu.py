from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("torch")

import torch
from torch.nn.functional import gelu

from packc.runtimes.aotinductor_gelu import merge_gelu

aten = torch.ops.aten


class Layers(torch.nn.Module):
    """What is done with the answer of a linear layer is each test's own."""

    def __init__(self, act: Any, bias: bool = True) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.up, self.down, self.act = torch.nn.Linear(8, 16, bias), torch.nn.Linear(16, 8), act

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.down(self.act(self.up(x)))


def export(module: torch.nn.Module, x: torch.Tensor) -> Any:
    """With every axis but the last open."""
    axes = {axis: torch.export.Dim(f"axis{axis}", min=2, max=64) for axis in range(x.dim() - 1)}
    with torch.no_grad():
        return torch.export.export(module.eval(), (x,), dynamic_shapes={"x": axes}, strict=False)


def list_operators(program: Any) -> list[Any]:
    return [node.target for node in program.graph.nodes if node.op == "call_function"]


@pytest.mark.parametrize("shape", [(5, 8), (3, 5, 8), (2, 3, 5, 8)])
def test_gelu_after_a_linear_layer_moves_into_its_product(shape: tuple[int, ...]) -> None:
    module = Layers(lambda y: gelu(y, approximate="tanh"))
    program = export(module, torch.randn(shape))
    assert merge_gelu(program) == (1, 1)
    found = list_operators(program)
    assert aten._addmm_activation.default in found
    assert aten.gelu.default not in found
    other = torch.randn([size + 1 for size in shape[:-1]] + [8])
    torch.testing.assert_close(program.module()(other), module(other), atol=2e-3, rtol=0)


def test_the_exact_form_is_taken_too() -> None:
    module, x = Layers(gelu), torch.randn(4, 8)
    program = export(module, x)
    assert merge_gelu(program) == (1, 1)
    torch.testing.assert_close(program.module()(x), module(x), atol=2e-3, rtol=0)


def test_those_that_stay_are_counted() -> None:
    program = export(Layers(lambda y: gelu(gelu(y))), torch.randn(4, 8))
    assert merge_gelu(program) == (1, 2)
    assert list_operators(program).count(aten.gelu.default) == 1


@pytest.mark.parametrize(
    ("module", "count"),
    [
        (Layers(lambda y: gelu(y) + y), 1),
        (Layers(lambda y: gelu(y * 2)), 1),
        (Layers(torch.relu), 0),
        (Layers(gelu, bias=False), 1),
    ],
    ids=["read twice", "something between", "another function", "no bias"],
)
def test_what_is_something_else_stays(module: Layers, count: int) -> None:
    program = export(module, torch.randn(4, 8))
    before = list_operators(program)
    assert merge_gelu(program) == (0, count)
    assert list_operators(program) == before
