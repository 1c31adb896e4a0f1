"""A loaded and an exported tiny model, made once for the tests of ingest."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from packc.ingest.inspect import inspect_source
from packc.ingest.reference import TorchReference
from packc.ingest.source import SourceInfo
from packc.spec.model import ModelSection


@pytest.fixture(scope="session", autouse=True)
def _session_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PACK_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def bert_info(tiny_bert_dir: Path) -> SourceInfo:
    return inspect_source(ModelSection(name="tiny", source=str(tiny_bert_dir)))


@pytest.fixture(scope="session")
def bert_reference(bert_info: SourceInfo) -> TorchReference:
    from packc.ingest.load_checkpoint import load_checkpoint

    return load_checkpoint(bert_info)


@pytest.fixture(scope="session")
def bert_graph(bert_reference: TorchReference, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from packc.ingest.export import export_module

    graph = tmp_path_factory.mktemp("export") / "model.onnx"
    export_module(bert_reference, graph)
    return graph
