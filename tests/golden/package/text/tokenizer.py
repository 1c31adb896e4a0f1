"""First step of tiny: text -> token tensors. Made by pack."""

import os
from pathlib import Path

import numpy as np
import triton_python_backend_utils as pb_utils
from tokenizers import Tokenizer

MAX_LENGTH = 6
PAD_ID = 0
OUTPUTS = (("input_ids", "int64"), ("attention_mask", "int64"))
FIELDS = {"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}


class TritonPythonModel:
    """One tokenizer, read from the file beside this one."""

    def initialize(self, args):
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # the model's own threads already fill the cores
        tokenizer = Tokenizer.from_file(str(Path(__file__).with_name("tokenizer.json")))
        side = (tokenizer.padding or {}).get("direction", "right")
        tokenizer.enable_truncation(MAX_LENGTH)
        tokenizer.enable_padding(direction=side, pad_id=PAD_ID, pad_token=tokenizer.id_to_token(PAD_ID) or "")
        self._tokenizer = tokenizer

    def execute(self, requests):
        """One response a request, padded to the longest text of that request alone."""
        return [self._respond(request) for request in requests]

    def _respond(self, request):
        texts = pb_utils.get_input_tensor_by_name(request, "text").as_numpy().ravel()
        try:
            encodings = self._tokenizer.encode_batch_fast([text.decode() for text in texts])
        except UnicodeDecodeError as error:
            return _refuse(f"text is not valid UTF-8: {error}")
        if not encodings[0].ids:
            return _refuse("text has no tokens")
        tensors = [
            pb_utils.Tensor(name, np.array([getattr(encoding, FIELDS[name]) for encoding in encodings], dtype=dtype))
            for name, dtype in OUTPUTS
        ]
        return pb_utils.InferenceResponse(tensors)


def _refuse(message):
    return pb_utils.InferenceResponse(error=pb_utils.TritonError(message, pb_utils.TritonError.INVALID_ARG))
