"""The order of steps and what follows a failure, on a stand-in; e2e/test_server_push.py pushes to real servers."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from google.protobuf import json_format, text_format
from tritonclient.grpc import model_config_pb2

from engines import make_stamp, write_engine
from packc.errors import PushError
from packc.package.schema import config_schema
from packc.push import live_server
from packc.push.live_server import LiveServer
from packc.push.release import Pushed, ReleaseModel, read_release
from packc.samples import Sample
from packc.server.client import Answers, RequestFailed
from packc.tensors import TensorSpec
from served_packages import TEXTS, write_tensor_package, write_text_package


class Triton:
    """Keeps models like a server with explicit control, ensembles called failed though they load; it can be told to
    answer wrongly, or to refuse a load."""

    url = "grpc://here:8001"
    protocol = "grpc"

    def __init__(self) -> None:
        self.models: dict[str, tuple[str, Any]] = {}
        self.calls: list[str] = []
        self.refuse = ""
        self.wrong_once_serving = False

    def server_version(self) -> str:
        return "triton 0"

    def is_ready(self, model: str, version: str = "") -> bool:
        return model in self.models and version in ("", self.models[model][0])

    def model_versions(self, model: str) -> tuple[str, ...]:
        return (self.models[model][0],)

    def model_config(self, model: str) -> dict[str, Any]:
        return json_format.MessageToDict(self.models[model][1], preserving_proto_field_name=True)

    def load(self, model: str, config: str, files: Mapping[str, bytes]) -> None:
        self.calls.append(f"load {model}")
        if self.refuse and model.startswith(self.refuse):
            raise RequestFailed("refused", "load failed for model 'x': version 1 is at UNAVAILABLE state: Internal: no")
        version = next(path.split("/")[0] for path in files if path[0].isdigit())
        parsed = json_format.Parse(config, model_config_pb2.ModelConfig())
        assert parsed.name == model
        self.models[model] = (version, parsed)
        if parsed.platform == "ensemble":
            raise RequestFailed("refused", f"failed to load '{model}', failed to poll from model repository")

    def unload(self, model: str) -> None:
        self.calls.append(f"unload {model}")
        self.models.pop(model, None)

    def infer(self, model: str, inputs: Sample, *, version: str = "") -> Answers:
        text = TEXTS.index(inputs["text"][0, 0].decode())
        right = np.array([[TEXTS[text].count(letter) * 2 for letter in "aeio"]], np.float32)
        return {"embedding": right + (self.wrong_once_serving and model == "letters")}


@pytest.fixture
def triton(monkeypatch: pytest.MonkeyPatch) -> Triton:
    stand_in = Triton()

    @contextlib.contextmanager
    def connect(url: str, *, timeout_s: float) -> Iterator[Triton]:
        yield stand_in

    monkeypatch.setattr(live_server, "connect", connect)
    return stand_in


def push(package: Path) -> Pushed:
    return LiveServer().push(read_release(package), Triton.url)


def add_old(triton: Triton) -> None:
    """An ensemble that an earlier push left, with one member of its own."""
    config = text_format.Parse(
        'name: "letters" platform: "ensemble" ensemble_scheduling { step { model_name: "letters-model-00000000" } }',
        model_config_pb2.ModelConfig(),
    )
    triton.models |= {"letters": ("4", config), "letters-model-00000000": ("1", model_config_pb2.ModelConfig())}


def test_addresses_are_accepted() -> None:
    accepts = LiveServer().accepts
    assert all(accepts(f"{scheme}://host:1") for scheme in ("http", "https", "grpc", "grpcs"))
    assert not accepts("models")


def test_members_first_then_a_rehearsal_then_the_switch(triton: Triton, tmp_path: Path) -> None:
    add_old(triton)
    pushed = push(write_text_package(tmp_path / "package"))
    assert (pushed.version, pushed.golden_requests) == (5, 3)
    members = [name for name in triton.models if name != "letters"]
    assert len(members) == 2
    rehearsal = next(call for call in triton.calls[2:]).removeprefix("load ")
    assert triton.calls == [
        *(f"load {name}" for name in sorted(members)),
        f"load {rehearsal}",
        f"unload {rehearsal}",
        "load letters",
        "unload letters-model-00000000",
    ]


def test_what_serves_already_is_asked_and_not_sent_again(triton: Triton, tmp_path: Path) -> None:
    package = write_text_package(tmp_path / "package")
    first = push(package)
    triton.calls.clear()
    assert push(package) == Pushed(first.version, (), 3)
    assert triton.calls == []
    entry = triton.models["letters"][1]
    entry.parameters.clear()
    assert push(package) == Pushed(first.version + 1, ("letters",), 3), "who knows what an older pack pushed"


def test_what_serves_and_is_not_whole_is_sent_again(triton: Triton, tmp_path: Path) -> None:
    package = write_text_package(tmp_path / "package")
    gone = push(package).models[0]
    del triton.models[gone]
    assert push(package) == Pushed(2, (gone, "letters"), 3)
    triton.wrong_once_serving = True
    with pytest.raises(PushError, match="golden requests"):
        push(package)
    assert "load letters" in triton.calls


def test_a_refused_member_undoes_the_others(triton: Triton, tmp_path: Path) -> None:
    add_old(triton)
    before = dict(triton.models)
    triton.refuse = "letters-tokenizer"
    with pytest.raises(PushError, match=r"the server refused model 'letters-tokenizer-\w+': no$"):
        push(write_text_package(tmp_path / "package"))
    assert triton.models == before


def test_answers_that_go_wrong_after_the_switch_bring_the_old_one_back(triton: Triton, tmp_path: Path) -> None:
    add_old(triton)
    old_config = triton.models["letters"][1]
    triton.wrong_once_serving = True
    with pytest.raises(PushError, match="serves again, as version 6"):
        push(write_text_package(tmp_path / "package"))
    assert triton.models["letters"] == ("6", old_config)
    assert set(triton.models) == {"letters", "letters-model-00000000"}


def test_what_cannot_be_restored_is_said(triton: Triton, tmp_path: Path) -> None:
    add_old(triton)
    triton.models["letters"] = ("4", model_config_pb2.ModelConfig(name="letters", backend="onnxruntime"))
    triton.wrong_once_serving = True
    with pytest.raises(PushError, match="was not restored: 'letters' has to be pushed again"):
        push(write_text_package(tmp_path / "package"))


def test_a_server_that_does_not_answer_is_not_an_empty_one(
    triton: Triton, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_old(triton)

    def fail(model: str) -> dict[str, Any]:
        raise RequestFailed("no answer", "timed out")

    monkeypatch.setattr(triton, "model_config", fail)
    with pytest.raises(RequestFailed, match="timed out"):
        push(write_text_package(tmp_path / "package"))
    assert triton.calls == []


def test_a_model_that_is_too_large_is_refused(
    triton: Triton, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    package = write_tensor_package(tmp_path / "package")
    monkeypatch.setattr(live_server, "MAX_MODEL_BYTES", 10)
    with pytest.raises(PushError, match=r"one message to a server holds 2\.1 GB") as caught:
        push(package)
    assert "repository folder" in (caught.value.hint or "")
    assert triton.calls == []


def test_a_large_model_over_http_is_told(
    triton: Triton, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(live_server, "MAX_HTTP_BYTES", 10)
    triton.protocol = "http"
    release = read_release(write_text_package(tmp_path / "package"))
    with caplog.at_level(logging.WARNING):
        LiveServer().push(release, "http://here:8000")
    assert "newer servers refuse" in caplog.text


def test_an_engine_that_is_refused_tells_where_it_loads(tmp_path: Path) -> None:
    tensor = TensorSpec("x", "float32", ("batch", 2))
    plan = write_engine(tmp_path, make_stamp([tensor], [tensor]))
    config = config_schema().ModelConfig(name="m")
    refusal = RequestFailed("load", "unable to load plan")
    error = live_server._explain(ReleaseModel(config, {"1/model.plan": plan}, ""), refusal)
    assert error.hint is not None
    assert error.hint.startswith("its engine is of TensorRT 8.6.0 for NVIDIA H200 (compute capability 9.0)")
