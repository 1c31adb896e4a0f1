"""A small image classifier trained here on scikit-learn's digits: real accuracy, from image bytes to a label."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pack_command import run_pack
from packc.server.environment import Server

pytestmark = pytest.mark.e2e

SPEC = """
[model]
name = "digits"
source = "{model}"

[workload]
batch = {{ typical = 1, max = 4 }}

[quality]
metric = "accuracy"
max_drop = 0.05
data = "{images}"

[targets.cpu]
profile = "host"
"""


@pytest.fixture(scope="module")
def package(
    tmp_path_factory: pytest.TempPathFactory,
    digits_classifier_dir: Path,
    digits_images_dir: Path,
    triton_server: Server,
) -> Path:
    """The published package."""
    folder = tmp_path_factory.mktemp("digits-build")
    (folder / "spec.toml").write_text(SPEC.format(model=digits_classifier_dir, images=digits_images_dir))
    done = run_pack("build", "spec.toml", "--json", cwd=folder)
    assert done.code == 0, done.stderr
    return folder / "build" / "digits" / "cpu"


def read_manifest(package: Path) -> dict[str, Any]:
    return json.loads((package / "manifest.json").read_text())


def test_static_int8_is_tried_and_judged_by_real_accuracy(package: Path) -> None:
    candidates = {c["id"]: c for c in read_manifest(package)["candidates"]}
    assert {"onnxruntime-fp32", "onnxruntime-int8-static"} <= set(candidates)
    quality = candidates["onnxruntime-fp32"]["measurements"]["quality"]
    assert quality["metric"] == "accuracy"
    assert quality["value"] > 0.9
    assert quality["reference"] == quality["value"]


def test_image_bytes_go_in_and_a_label_comes_out(package: Path) -> None:
    served = read_manifest(package)["served"]
    assert served["quality"]["metric"] == "accuracy"
    assert served["quality"]["value"] > 0.9
    repository = package / "model_repository"
    assert sorted(path.name for path in repository.iterdir()) == [
        "digits",
        "digits-labels",
        "digits-model",
        "digits-preprocess",
    ]


def test_the_package_lints_and_verifies_again(package: Path) -> None:
    assert run_pack("lint", package / "model_repository").code == 0
    again = run_pack("verify", package, "--json")
    assert again.code == 0, again.stderr
    assert again.document["met"] is True
