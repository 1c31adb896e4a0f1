"""What pack's Python-based backends share: where a model's file is, and the requests of one batch as few calls.

Lies above the folders of the backends, which look for it there. Runs inside Triton's Python stub; imports nothing of
pack.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import triton_python_backend_utils as pb_utils  # type: ignore[import-not-found]  # exists in Triton's stub only

Array = npt.NDArray[Any]
Feed = Mapping[str, Array]
Call = Callable[[Sequence[str], Feed], Feed]
"""(names of wanted outputs, inputs) -> outputs by name, the wanted ones at least."""


def find_model(args: Mapping[str, str], filename: str) -> Path:
    """The file in the version's folder. Raises TritonModelException where there is none."""
    repository, version = Path(args["model_repository"]), args["model_version"]
    tried = [repository / version / filename, repository / args["model_name"] / version / filename]
    for path in tried:
        if path.is_file():
            return path
    raise pb_utils.TritonModelException(f"no model file at {tried[0]}")


def read_inputs(request: Any) -> dict[str, Array]:
    return {tensor.name(): tensor.as_numpy() for tensor in request.inputs()}


def answer_requests(requests: Sequence[Any], feeds: Sequence[Feed], is_batched: bool, call: Call) -> list[Any]:
    """One response a request, in order; a request that fails answers with its own error.

    `feeds` are their inputs. Those that fit together share a call where there `is_batched`; where that fails, each has
    one of its own.
    """
    responses: list[Any] = [None] * len(requests)
    for group in group_feeds(feeds, is_batched):
        for index, response in zip(group, _answer_group(group, requests, feeds, call), strict=True):
            responses[index] = response
    return responses


def group_feeds(feeds: Sequence[Feed], is_batched: bool) -> Iterable[Sequence[int]]:
    """Indices of requests that can run as one call: the same inputs, equal in all axes but the batch."""
    groups: dict[object, list[int]] = {}
    for index, feed in enumerate(feeds):
        shapes = tuple((name, array.shape[1:]) for name, array in sorted(feed.items()))
        groups.setdefault(shapes if is_batched else index, []).append(index)
    return groups.values()


def _answer_group(group: Sequence[int], requests: Sequence[Any], feeds: Sequence[Feed], call: Call) -> list[Any]:
    feed, is_alone = feeds[group[0]], len(group) == 1
    wanted = sorted({name for index in group for name in requests[index].requested_output_names()})
    try:
        if not is_alone:
            feed = {name: np.concatenate([feeds[index][name] for index in group]) for name in feed}
        outputs = call(wanted, feed)
    except Exception as error:  # exceptions of the runtimes have no common base
        if is_alone:
            return [pb_utils.InferenceResponse(error=pb_utils.TritonError(str(error)))]
        return [response for index in group for response in _answer_group([index], requests, feeds, call)]
    if is_alone:
        return [_respond(requests[group[0]], outputs)]
    responses, start = [], 0
    for index in group:
        end = start + len(next(iter(feeds[index].values())))
        responses.append(_respond(requests[index], outputs, slice(start, end)))
        start = end
    return responses


def _respond(request: Any, outputs: Feed, rows: slice | None = None) -> Any:
    names = request.requested_output_names()
    return pb_utils.InferenceResponse(
        [pb_utils.Tensor(name, outputs[name] if rows is None else outputs[name][rows]) for name in names]
    )
