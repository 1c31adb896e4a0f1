from __future__ import annotations

import pytest

from packc.server.log import clean_reason, explain_failure

HEAD = """\
W1123 05:43:49.895500 9510 pinned_memory_manager.cc:273] "Unable to allocate pinned system memory"
E1123 05:43:49.895658 9510 server.cc:241] "CudaDriverHelper has not been initialized."
"""
TAIL = """\
I1123 05:43:50.076051 9510 server.cc:674] 
+-------+---------+--------+
| Model | Version | Status |
+-------+---------+--------+
| tiny  | 1       | READY  |
+-------+---------+--------+
error: creating server: Internal - failed to load all models
"""


def entry(place: str, text: str) -> str:
    return f'E1123 05:43:54.778502 9583 {place}] "{text}"\n'


@pytest.mark.parametrize(
    ("log", "reason"),
    [
        (
            entry(
                "model_lifecycle.cc:642", r"failed to load 'py' version 1: Internal: ValueError: no\n\nAt:\n  x.py(3)\n"
            ),
            "model 'py': ValueError: no",
        ),
        (
            entry("model_repository_manager.cc:724", "failed to load model 'tiny': at least one version must be there"),
            "model 'tiny': at least one version must be there",
        ),
        (
            "[libprotobuf ERROR /x/text.cc:337] Error parsing text-format inference.ModelConfig: 3:14: No field.\n"
            + entry("manager.cc:1460", "Poll failed for model directory 'a': failed to read text proto"),
            "model 'a': failed to read text proto (line 3, column 14: No field.)",
        ),
        (
            entry("model_repository_manager.cc:703", "Invalid argument: ensemble ens contains models: nosuch"),
            "ensemble ens contains models: nosuch",
        ),
        ("", "creating server: Internal - failed to load all models"),
    ],
)
def test_explains_failures(log: str, reason: str) -> None:
    assert explain_failure(HEAD + log + TAIL, 1) == reason


def test_tells_every_model_once() -> None:
    log = "".join(
        entry("model_lifecycle.cc:642", f"failed to load '{model}' version 1: Not found: no file {model}")
        for model in ("a", "b", "a")
    )
    assert explain_failure(HEAD + log + TAIL, 1) == "model 'a': no file a; model 'b': no file b"


def test_without_an_error_the_last_line_is_told() -> None:
    assert explain_failure("error while loading shared libraries: libz.so\n", 127) == (
        "it ended with status 127; its log ends: error while loading shared libraries: libz.so"
    )
    assert explain_failure("", -9) == "it ended with status -9 and logged nothing"
    assert explain_failure(HEAD + 'I1123 05:43:49.9 9510 a.cc:1] "loading: tiny:1"\n', None) == (
        'it is still loading; its log ends: I1123 05:43:49.9 9510 a.cc:1] "loading: tiny:1"'
    )


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (
            "load failed for model 'x': version 2 is at UNAVAILABLE state: Internal: Bad: no\n\nAt:\n  a(1): b\n",
            "Bad: no",
        ),
        ("Invalid argument: input 'x' is wrong", "input 'x' is wrong"),
        ("Internal: TritonModelException: input 'x'\nis wrong", "input 'x' is wrong"),
    ],
)
def test_cleans_reasons(said: str, reason: str) -> None:
    assert clean_reason(said) == reason
