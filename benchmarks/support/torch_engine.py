"""Runs a Hugging Face checkpoint with PyTorch, for the runner of a job bundle.

`options`: mode ("eager", "compile"), dtype ("float32", "bfloat16"), checkpoint (folder), task, pooling ("mean", "none")
and output (the name of its answer).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch


def load(model: str, options: Mapping[str, Any], threads: int) -> Any:
    """The checkpoint in evaluation mode; compiled with dynamic shapes where asked for."""
    import transformers

    torch.set_num_threads(threads)
    kind = "AutoModelForImageClassification" if options["task"] == "image-classification" else "AutoModel"
    module = getattr(transformers, kind).from_pretrained(options["checkpoint"], dtype=torch.float32)
    module = module.eval().to(getattr(torch, str(options["dtype"])))
    if options["mode"] == "compile":
        torch._inductor.config.freezing = True
        module = torch.compile(module)
    return module, str(options["pooling"]), str(options["output"]), getattr(torch, str(options["dtype"]))


def run(session: Any, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The pooled, normalised embedding or the logits, under the name that bundles ask for."""
    module, pooling, output, dtype = session
    tensors = {name: torch.from_numpy(array) for name, array in inputs.items()}
    tensors = {name: t.to(dtype) if t.is_floating_point() else t for name, t in tensors.items()}
    with torch.inference_mode():
        answer = module(**tensors)
        if "logits" in answer:
            return {output: answer.logits.float().numpy()}
        hidden = answer.last_hidden_state
        if pooling == "mean":
            mask = tensors["attention_mask"].unsqueeze(-1).to(hidden.dtype)
            hidden = torch.nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1), dim=1)
        return {output: hidden.float().numpy()}


def describe(session: Any) -> dict[str, str]:
    """The version of torch."""
    return {"torch": torch.__version__}
