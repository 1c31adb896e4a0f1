"""The compiled graph in one of Triton's Python processes, for runtimes whose models no native backend serves.

The requests of one batch share calls of the engine where their shapes allow. Copied into packages as model.py, beside
the engine that measured the candidate in its job, so it imports nothing of packc, and repeats the way of grouping that
pack's own backends share (packc/server/backends/pack_requests.py): it stands alone where it is copied to.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import triton_python_backend_utils as pb_utils  # type: ignore[import-not-found]  # in Triton's stub only

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
engine = import_module("engine")

Array = npt.NDArray[Any]


class TritonPythonModel:
    """One instance of the model, in a process of its own. The parameters of the configuration:

    model            the file that the engine loads, beside this one
    threads          that each call computes on
    engine_options   JSON: options of the engine's `load`
    """

    def initialize(self, args: Mapping[str, str]) -> None:
        """Loads the model; any exception makes Triton refuse it with its text."""
        config = json.loads(args["model_config"])
        parameters = {name: value["string_value"] for name, value in config["parameters"].items()}
        path, options = HERE / parameters["model"], json.loads(parameters["engine_options"])
        self._session = engine.load(str(path), options, int(parameters["threads"]))
        self._is_batched = int(config.get("max_batch_size", 0)) > 0

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """One response a request, in order; a request that fails answers with its own error."""
        feeds = [{tensor.name(): tensor.as_numpy() for tensor in request.inputs()} for request in requests]
        responses: list[Any] = [None] * len(requests)
        for group in group_requests(feeds, self._is_batched):
            for index, response in zip(group, self._run(group, feeds, requests), strict=True):
                responses[index] = response
        return responses

    def _run(self, group: Sequence[int], feeds: Sequence[dict[str, Array]], requests: Sequence[Any]) -> list[Any]:
        """Responses of the requests in `group`, whose inputs fit together, from one call of the engine."""
        feed = feeds[group[0]]
        if len(group) > 1:
            feed = {name: np.concatenate([feeds[index][name] for index in group]) for name in feed}
        try:
            outputs = engine.run(self._session, feed)
        except Exception as error:  # each engine has exceptions of its own
            if len(group) == 1:
                return [pb_utils.InferenceResponse(error=pb_utils.TritonError(f"{type(error).__name__}: {error}"))]
            return [self._run([index], feeds, requests)[0] for index in group]
        if len(group) == 1:
            return [_respond(requests[group[0]], outputs)]
        responses, start = [], 0
        for index in group:
            end = start + len(next(iter(feeds[index].values())))
            responses.append(_respond(requests[index], {name: array[start:end] for name, array in outputs.items()}))
            start = end
        return responses


def group_requests(feeds: Sequence[Mapping[str, Array]], is_batched: bool) -> Iterable[Sequence[int]]:
    """Indices of requests that can run as one call: the same inputs, equal in all axes but the batch."""
    groups: dict[object, list[int]] = {}
    for index, feed in enumerate(feeds):
        shapes = tuple((name, array.shape[1:]) for name, array in sorted(feed.items()))
        groups.setdefault(shapes if is_batched else index, []).append(index)
    return groups.values()


def _respond(request: Any, outputs: Mapping[str, Array]) -> Any:
    return pb_utils.InferenceResponse(
        [pb_utils.Tensor(name, outputs[name]) for name in request.requested_output_names()]
    )
