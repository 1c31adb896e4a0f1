"""Last step of tiny: logits -> label and score. Made by pack."""

import json
from pathlib import Path

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """Class names, read from the file beside this one."""

    def initialize(self, args):
        labels = json.loads(Path(__file__).with_name("labels.json").read_text(encoding="utf-8"))
        self._labels = np.array([label.encode() for label in labels], dtype=object)

    def execute(self, requests):
        """One response a request: `label` [batch, 1] and `score` [batch, 1]."""
        return [self._respond(request) for request in requests]

    def _respond(self, request):
        best, scores = score_classes(pb_utils.get_input_tensor_by_name(request, "logits").as_numpy())
        return pb_utils.InferenceResponse(
            [pb_utils.Tensor("label", self._labels[best][:, None]), pb_utils.Tensor("score", scores)]
        )


def score_classes(logits):
    """Logits [batch, classes] -> the likeliest class [batch] and its probability [batch, 1].

    By softmax; a single logit is the probability of the only class, by the logistic function.
    """
    logits = logits.astype(np.float32)
    if logits.shape[1] == 1:
        scores = 1 / (1 + np.exp(-logits))
    else:
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        scores = powers.max(axis=1, keepdims=True) / powers.sum(axis=1, keepdims=True)
    return logits.argmax(axis=1), scores
