from __future__ import annotations

import json
from pathlib import Path

from packc.package.lock import LockedInput, LockedTarget, PackLock, write_lock

TARGET = LockedTarget(
    target="cpu",
    profile="host",
    build_key="key",
    candidate="onnxruntime-fp32",
    runtime="onnxruntime",
    precision="fp32",
    passes=("fuse",),
    instances=1,
    threads=2,
    max_batch_size=8,
    queue_delay_us=0,
    preferred_batch_sizes=(),
    front="ensemble",
    cuda_graphs=True,
    files={"model_repository/tiny/1/model.onnx": "0" * 64},
)
LOCK = PackLock(
    "tiny",
    (LockedInput("model", "models/tiny", None, "1" * 64),),
    {"packc": "0.1.0", "onnxruntime": "1.31.1"},
    (TARGET,),
)


def test_lock_replaces_the_old_one_and_leaves_nothing_else(tmp_path: Path) -> None:
    (tmp_path / ".pack.lock.new").write_text("left by a killed build")
    write_lock(tmp_path, PackLock("old", (), {}, ()))
    write_lock(tmp_path, LOCK)
    assert [path.name for path in tmp_path.iterdir()] == ["pack.lock"]
    document = json.loads((tmp_path / "pack.lock").read_text())
    assert next(iter(document)) == "schema"
    assert document["model"] == "tiny"
    assert document["targets"][0]["candidate"] == "onnxruntime-fp32"
    assert document["inputs"][0] == {
        "role": "model",
        "location": "models/tiny",
        "revision": None,
        "sha256": "1" * 64,
    }
