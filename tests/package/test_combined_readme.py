from __future__ import annotations

from dataclasses import replace

from goldens import check_golden
from packc.package.combined_readme import describe_targets, write_readme
from packc.package.manifest import CombinedRecord

BASE = CombinedRecord("h200", "nvidia-h200-sxm", "9.0", "verified", "ort-fp16", "fp16", "model.onnx", "default", 1.9,
                      is_loaded=True)  # fmt: skip
H100 = CombinedRecord("h100", "nvidia-h100-sxm", "9.0", "verified", "ort-tf32", "tf32", "model.h100.onnx",
                      "config name", 2.1)  # fmt: skip
T4 = CombinedRecord("t4", "nvidia-t4", "7.5", "built", "ort-fp16", "fp16", "model.t4.onnx", "compute capability",
                    remark="has not run on that GPU yet")  # fmt: skip
L4 = CombinedRecord("l4", "nvidia-l4", "8.9", "planned", None, None, None, "", remark="there is no build of it yet")


def test_the_section_reads_as_golden() -> None:
    check_golden("package/combined_readme.md", describe_targets((BASE, H100, T4, L4), "h200"))


def test_without_configurations_of_their_own_no_flag_is_told() -> None:
    assert "--model-config-name" not in describe_targets((BASE, T4), "h200")


def test_the_title_and_what_comes_first_are_of_all_targets() -> None:
    text = write_readme("# tiny for h200\n\nTensors in.\n", "tiny", "fleet", "h200", (BASE, H100, T4, L4))
    head, rest = text.split("\n\nTensors in.\n")
    assert head == (
        "# tiny for several GPUs: fleet\n\nA server takes the artifact of its GPU by itself for `h200`, `t4`. For "
        "`h100` it needs the flag `--model-config-name=h100`: without it, a server there takes the artifact of `h200`, "
        "and no error says so. The section [Several GPUs](#several-gpus) has the commands; what stands before it is "
        "about `h200`."
    )
    assert rest == "\n" + describe_targets((BASE, H100, T4, L4), "h200")
    assert "\n## Several GPUs\n" in rest


def test_what_is_wrong_with_it_stands_first_and_in_the_table() -> None:
    text = write_readme("# tiny for h200\n", "tiny", "fleet", "h200", (replace(BASE, missed=("latency_ms",)), L4))
    assert "Note: the package has the artifact of h200 alone (l4: there is no build of it yet)." in text.split("## ")[0]
    assert "Note: h200 misses its budget (latency_ms)." in text.split("## ")[0]
    assert "| verified, misses its budget (latency_ms) | loaded |" in text
