from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from packc.errors import SourceError
from packc.ingest.reference import TorchReference
from packc.ingest.student import choose_layers, make_student


@pytest.mark.parametrize(
    ("layers", "of_layers", "expected"),
    [(3, 6, [1, 3, 5]), (1, 6, [5]), (4, 6, [1, 2, 4, 5]), (5, 12, [2, 4, 7, 9, 11])],
)
def test_layers_are_evenly_spaced_and_end_with_the_last(layers: int, of_layers: int, expected: list[int]) -> None:
    assert choose_layers(layers, of_layers) == expected


def test_a_student_is_the_teacher_with_fewer_layers(bert_reference: TorchReference) -> None:
    student = make_student(bert_reference, 1, 2)
    encoders = [reference.module.model.encoder.layer for reference in (student.reference, bert_reference)]
    assert [len(layers) for layers in encoders] == [1, 2]
    assert student.reference.module.model.config.num_hidden_layers == 1
    assert bert_reference.module.model.config.num_hidden_layers == 2
    own, model = (layers[0].state_dict() for layers in (student.layers, student.models))
    assert student.models == (encoders[1][1],)
    for name, weights in model.items():
        assert torch.equal(own[name], weights)
        assert own[name].data_ptr() != weights.data_ptr()


def test_layers_that_are_in_no_list_of_their_number_are_refused(bert_reference: TorchReference) -> None:
    with pytest.raises(SourceError, match="should have one list of 7 layers, it has none"):
        make_student(bert_reference, 3, 7)
    twice = torch.nn.ModuleDict({"a": torch.nn.ModuleList([torch.nn.Identity(), torch.nn.ReLU()])})
    twice["b"] = torch.nn.ModuleList([torch.nn.Identity(), torch.nn.ReLU()])
    with pytest.raises(SourceError, match="it has a, b"):
        make_student(replace(bert_reference, module=twice), 1, 2)
