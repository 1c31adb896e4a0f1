"""tiny: text -> embedding, in one process. Made by pack."""

import json
import os
import sys
import time
from importlib import import_module
from pathlib import Path

import numpy as np
import triton_python_backend_utils as pb_utils
from tokenizers import Tokenizer

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
batches, engine = import_module("batches"), import_module("engine")

MAX_LENGTH = 6
PAD_ID = 0
INPUTS = (("input_ids", "int64"), ("attention_mask", "int64"))
FIELDS = {"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}
FILLERS = {"input_ids": PAD_ID, "attention_mask": 0, "token_type_ids": 0}
ANSWER = "sentence_embedding"
WARMUP_LENGTHS = (3, 4)
"""Lengths of real texts, in tokens, the most common first."""
WARMUP_S = 20.0
"""Seconds that the instances may take to warm up, together: whoever starts the server waits for them."""


class TritonPythonModel:
    """Texts that wait at the same time are tokenized together, share calls of the engine, and part again."""

    def initialize(self, args):
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # the engine's own threads already fill the cores
        config = json.loads(args["model_config"])
        parameters = {name: value["string_value"] for name, value in config["parameters"].items()}
        self._policy = parameters["lengths"]
        self._token_budget = int(parameters["token_budget"])
        self._multiple = int(parameters["length_multiple"])
        tokenizer = Tokenizer.from_file(str(HERE / "tokenizer.json"))
        self._pads_left = (tokenizer.padding or {}).get("direction") == "left"
        tokenizer.no_padding()
        tokenizer.enable_truncation(MAX_LENGTH)
        self._tokenizer = tokenizer
        threads, options = int(parameters["threads"]), json.loads(parameters["engine_options"])
        self._session = engine.load(str(HERE / parameters["model"]), options, threads)
        instances = sum(group.get("count", 1) for group in config["instance_group"])
        self._warm_up(int(config["max_batch_size"]), WARMUP_S / instances)

    def execute(self, requests):
        """One response a request; what cannot be read or computed fails its own request alone."""
        responses = [None] * len(requests)
        read = []
        for position, request in enumerate(requests):
            texts = pb_utils.get_input_tensor_by_name(request, "text").as_numpy().ravel()
            try:
                read.append((position, [text.decode() for text in texts]))
            except UnicodeDecodeError as error:
                responses[position] = _refuse(f"text is not valid UTF-8: {error}")
        rest = iter(self._tokenizer.encode_batch_fast([text for _, texts in read for text in texts]))
        kept = {}
        for position, texts in read:
            encodings = [next(rest) for _ in texts]
            if all(map(len, encodings)):
                kept[position] = [{name: getattr(item, FIELDS[name]) for name, _ in INPUTS} for item in encodings]
            else:
                responses[position] = _refuse("text has no tokens")
        for position, response in zip(kept, self._respond_all(list(kept.values())), strict=True):
            responses[position] = response
        return responses

    def _respond_all(self, asked):
        """One response for each list of texts; where the engine fails, each is asked alone, and fails alone."""
        if not asked:
            return []
        try:
            answers = self._answer([text for texts in asked for text in texts])
        except Exception as error:  # each engine has exceptions of its own
            if len(asked) == 1:
                return [pb_utils.InferenceResponse(error=pb_utils.TritonError(f"{type(error).__name__}: {error}"))]
            return [response for texts in asked for response in self._respond_all([texts])]
        ends = np.cumsum([len(texts) for texts in asked])
        return [self._respond(part) for part in np.split(answers, ends[:-1])]

    def _answer(self, tokens):
        """The answers to `tokens` (one mapping a text), in the same order."""
        lengths = [len(text["input_ids"]) for text in tokens]
        calls = batches.cut_batches(lengths, self._policy, self._token_budget, self._multiple)
        rows = [self._call([tokens[position] for position in call]) for call in calls]
        return np.concatenate(rows)[np.argsort(np.concatenate(calls))]

    def _call(self, tokens):
        """The answers to texts that share one call, padded to the longest of them."""
        longest = max(len(text["input_ids"]) for text in tokens)
        width = min(batches.round_up(longest, self._multiple), MAX_LENGTH)
        feed = {name: np.full((len(tokens), width), FILLERS[name], dtype=dtype) for name, dtype in INPUTS}
        for name, array in feed.items():
            for row, text in zip(array, tokens, strict=True):
                length = len(text[name])
                row[width - length if self._pads_left else 0 :][:length] = text[name]
        return engine.run(self._session, feed)[ANSWER]

    def _warm_up(self, most, seconds):
        """Calls of the shapes that requests will have, until all were made or `seconds` are over.

        A shape that its turn did not come to is prepared when the first request has it, which waits for that.
        """
        deadline = time.monotonic() + seconds
        for count, width in self._list_shapes(most):
            tokens = {name: [int(name == "attention_mask")] * min(width, MAX_LENGTH) for name, _ in INPUTS}
            self._call([tokens] * count)
            if time.monotonic() >= deadline:
                return

    def _list_shapes(self, most):
        """(texts, tokens) of calls: the lengths of real texts alone, and as many as one call takes at most.

        With lengths rounded up, every number of texts that a call may have: the engine prepares each new shape. Few
        texts come first, and of as many texts the most common length.
        """
        shapes = []
        rounded = (batches.round_up(length, self._multiple) for length in WARMUP_LENGTHS)
        widths = dict.fromkeys(min(width, MAX_LENGTH) for width in rounded)
        for rank, width in enumerate(widths):
            alone = self._policy == "single" or width > self._token_budget // 2
            full = 1 if alone else min(most, self._token_budget // width)
            counts = range(1, full + 1) if self._multiple > 1 else {1, full}
            shapes += [(count, rank, width) for count in counts]
        return [(count, width) for count, _, width in sorted(shapes)]

    def _respond(self, answers):
        return pb_utils.InferenceResponse([pb_utils.Tensor("embedding", answers)])


def _refuse(message):
    return pb_utils.InferenceResponse(error=pb_utils.TritonError(message, pb_utils.TritonError.INVALID_ARG))
