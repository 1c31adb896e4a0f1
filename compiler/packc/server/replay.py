"""Replays golden requests on a server and compares its answers with the chosen artifact's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from packc.errors import PackError
from packc.package.golden import GoldenSet
from packc.package.manifest import Manifest
from packc.samples import Array, Sample
from packc.server.client import Answers, Client
from packc.server.requests import golden_requests
from packc.tensors import PRECISIONS, Precision

TOLERANCES: Mapping[Precision, float] = {
    "fp32": 1e-4,
    "tf32": 2e-3,
    "bf16": 1e-2,
    "fp16": 2e-3,
    "fp8": 5e-2,
    "int8": 1e-2,
    "int4": 1e-2,
}
"""Largest difference that passes, as a share of the largest magnitude in the expected answer.

The server runs the same artifact, so what remains is the order of sums on other threads or cores, and where values are
rounded to a narrow type, a rounding that falls to the other side: a few steps of that type. A wrong tokenizer, pooling
or output differs by far more than any of these.
"""


class GoldenMismatch(PackError):
    """The server answers golden requests otherwise than the artifact does."""


@dataclass(frozen=True, slots=True)
class Replay:
    """All golden requests were answered within the tolerance."""

    requests: int
    max_error: float
    """Largest absolute difference from the artifact's own answers."""
    source_max_error: float
    """Largest absolute difference from the source model's answers; classes that differ do not count here."""


def chosen_precision(manifest: Manifest) -> Precision:
    """Precision of the artifact that a package holds. Raises PackError when its manifest chooses none."""
    for candidate in manifest.candidates:
        if candidate.id == manifest.verdict.chosen:
            return next(precision for precision in PRECISIONS if precision == candidate.precision)
    raise PackError("the package's manifest chooses no candidate", hint="build it again")


def replay_golden(client: Client, model: str, golden: GoldenSet, precision: Precision, version: str = "") -> Replay:
    """Sends every golden request alone, since answers of dynamic int8 depend on who shares the batch.

    Raises GoldenMismatch with the requests that differ and by how much, RequestFailed when one is refused.
    """
    problems = []
    max_error = source_max_error = 0.0
    requests = golden_requests(golden)
    for index, request in enumerate(requests):
        answers = client.infer(model, request, version=version)
        for name, expected in golden.answers[index].items():
            problem, error = _compare(answers, name, expected, TOLERANCES[precision])
            max_error = max(max_error, error)
            if problem:
                problems.append(f"  request {index} ({_describe_request(request)}): {problem}")
        for name, expected in golden.source_answers[index].items():
            source_max_error = max(source_max_error, _compare(answers, name, expected, float("inf"))[1])
    if problems:
        raise GoldenMismatch(
            f"{client.url}: {len(problems)} of {len(requests)} golden requests to model '{model}' are not answered as "
            "the artifact answers them\n" + "\n".join(problems[:5]) + ("\n  ..." if len(problems) > 5 else ""),
            hint="the server runs other files, another version or another preprocessing than the package holds",
        )
    return Replay(len(requests), max_error, source_max_error)


def _compare(answers: Answers, name: str, expected: Array, tolerance: float) -> tuple[str | None, float]:
    """(what is wrong, or None; the largest absolute difference of numbers)."""
    if name not in answers:
        return f"there is no output '{name}', only {', '.join(sorted(answers)) or 'none'}", 0.0
    answer = answers[name]
    if answer.shape != expected.shape:
        return f"output '{name}' has shape {list(answer.shape)}, not {list(expected.shape)}", 0.0
    if expected.dtype.kind in "OUS":
        got, wanted = decode_strings(answer), decode_strings(expected)
        return (None if got == wanted or tolerance == float("inf") else f"output '{name}' is {got}, not {wanted}"), 0.0
    if not np.isfinite(np.asarray(answer, dtype=np.float64)).all():
        return f"output '{name}' holds NaN or infinity", float("inf")
    wanted_values = np.asarray(expected, dtype=np.float64)
    error = float(np.abs(np.asarray(answer, dtype=np.float64) - wanted_values).max(initial=0.0))
    bound = tolerance * max(float(np.abs(wanted_values).max(initial=0.0)), 1e-6)
    if error <= bound:
        return None, error
    return f"output '{name}' differs by up to {error:.3g}, more than {bound:.3g}", error


def decode_strings(array: Array) -> list[str]:
    """The strings of an array, flat, whether they came as `bytes` or `str`."""
    return [item.decode(errors="replace") if isinstance(item, bytes) else str(item) for item in array.ravel().tolist()]


def _describe_request(request: Sample) -> str:
    name, array = next(iter(request.items()))
    if array.dtype.kind != "O":
        return f"{name} {list(array.shape)}"
    content = bytes(array.ravel()[0])
    text = content[:60].decode(errors="replace")
    return repr(text) if text.isprintable() else f"{name} of {len(content)} bytes"
