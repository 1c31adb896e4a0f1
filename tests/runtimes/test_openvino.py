from __future__ import annotations

import pytest

from packc.ingest.source import Geometry
from packc.runtimes import openvino
from packc.runtimes.openvino import OpenVino
from sources import device, source_info

MINILM = Geometry(layers=6, heads=12, hidden=384, ffn=1536)
TEXT = source_info("sentence-similarity", MINILM)
IMAGES = source_info("image-classification", None)


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvino, "version", lambda package: "2026.4.1")


def steps(target: object, info: object = TEXT) -> dict[str, str]:
    native = target.native  # type: ignore[attr-defined]
    offered, _ = OpenVino().candidates(info, target, native)  # type: ignore[arg-type]
    return {candidate.id: str(candidate.build) for candidate in offered}


def test_what_is_not_quantized_is_bf16_where_the_target_has_it() -> None:
    new = device(native=("fp32", "bf16", "int8"), isa=("avx2", "avx512_vnni", "avx512_bf16"))
    assert steps(new) == {
        "openvino-fp32": "openvino[precision=fp32]",
        "openvino-bf16": "openvino[precision=bf16]",
        "openvino-int8-weights": "openvino[precision=bf16,quantize=weights]",
        "openvino-int8": "openvino[precision=bf16,quantize=full,transformer=True]",
        "openvino-int8-ffn": "openvino[exclude=ffn_down,precision=bf16,quantize=full,transformer=True]",
    }


def test_weights_have_7_bits_where_larger_sums_are_cut_off() -> None:
    old = steps(device(isa=("avx2",)))
    assert old["openvino-int8"] == "openvino[overflow_fix=True,precision=fp32,quantize=full,transformer=True]"
    assert old["openvino-int8-weights"] == "openvino[precision=fp32,quantize=weights]"
    assert "openvino-bf16" not in old


def test_transformers_are_quantized_unasked_where_that_pays() -> None:
    old, new = device(isa=("avx2",)), device(isa=("avx2", "avx512_vnni"))
    assert list(OpenVino().on_request(TEXT, old)) == ["openvino-int8", "openvino-int8-ffn"]
    assert OpenVino().on_request(TEXT, new) == OpenVino().on_request(IMAGES, old) == {}


def test_a_convolutional_network_is_quantized_as_one() -> None:
    assert steps(device(), IMAGES)["openvino-int8"] == "openvino[precision=fp32,quantize=full]"
    assert set(steps(device(), IMAGES)) == {"openvino-fp32", "openvino-int8"}


def test_bf16_is_for_cpus_on_which_openvino_computes_in_it() -> None:
    arm = device(native=("fp32", "bf16", "int8"), isa=("asimd", "bf16"))
    assert "openvino-bf16" not in steps(arm)
    assert "precision=fp32" in steps(arm)["openvino-int8"]
    _, refused = OpenVino().candidates(TEXT, arm, arm.native)
    assert [(r.what, "AVX512-BF16" in r.reason) for r in refused] == [("openvino-bf16", True)]


def test_a_text_model_of_unknown_widths_is_quantized_as_a_transformer() -> None:
    found = steps(device(), source_info("feature-extraction", None))
    assert "transformer=True" in found["openvino-int8"]
    assert "openvino-int8-ffn" not in found


def test_other_devices_and_precisions_are_refused_with_a_reason() -> None:
    offered, refused = OpenVino().candidates(TEXT, device("cuda"), ("fp32",))
    assert (offered, [r.reason for r in refused]) == ((), ["compiles for CPUs only, and Box is a cuda device"])
    _, refused = OpenVino().candidates(TEXT, device(), ("fp32", "fp8"))
    assert [r.what for r in refused] == ["openvino-fp8"]


def test_without_the_packages_the_plan_says_how_to_get_them(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(package: str) -> str:
        raise openvino.PackageNotFoundError(package)

    monkeypatch.setattr(openvino, "version", missing)
    offered, refused = OpenVino().candidates(TEXT, device(), ("fp32",))
    assert offered == ()
    assert "pip install" in refused[0].reason


def test_what_is_timed_is_what_is_served() -> None:
    model_config_pb2 = pytest.importorskip("tritonclient.grpc.model_config_pb2")
    target = device(native=("fp32", "bf16", "int8"), isa=("avx512_bf16",))
    offered, _ = OpenVino().candidates(TEXT, target, ("fp32", "bf16"))
    for candidate, hint in zip(offered, ("f32", "bf16"), strict=True):
        config = model_config_pb2.ModelConfig(name="m", max_batch_size=8)
        OpenVino().configure_triton(config, OpenVino().job_options(candidate, 3), threads=3)
        written = {key: value.string_value for key, value in config.parameters.items()}
        assert config.backend == "openvino"
        assert (written["INFERENCE_NUM_THREADS"], written["INFERENCE_PRECISION_HINT"]) == ("3", hint)
        assert written["ENABLE_BATCH_PADDING"] == "YES"
        assert ("HINT_BF16" in written) == (hint == "bf16")
