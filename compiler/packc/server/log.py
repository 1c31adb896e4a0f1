"""Reads the reason of a failure out of Triton's log, which says it in several places and at length."""

from __future__ import annotations

import re

PORT_IN_USE = "already in use"

_HARMLESS = ("CudaDriverHelper has not been initialized",)
_ERROR_LINE = re.compile(r'^E\d{4} [\d:.]+ \d+ [\w./-]+:\d+\] "?(?P<text>.*?)"?$')
_PROTO_LINE = re.compile(
    r"libprotobuf ERROR .*?Error parsing text-format \S+: (?P<line>\d+):(?P<column>\d+): (?P<text>.*)$",
    re.MULTILINE,
)
_MODEL_FAILED = re.compile(r"failed to load (?:model )?'(?P<model>[^']+)'(?: version \d+)?: (?P<reason>.*)", re.DOTALL)
_POLL_FAILED = re.compile(r"Poll failed for model directory '(?P<model>[^']+)': (?P<reason>.*)", re.DOTALL)
_LOAD_FAILED = re.compile(r"^load failed for model '[^']+': (?:version \d+ is at \w+ state: )?")
_CODE = re.compile(r"^(?:Internal|Invalid argument|Not found|Unavailable|Unsupported|Unknown|Already exists)(?: -|:) ")


def explain_failure(text: str, exit_code: int | None) -> str:
    """Why the server with the log `text` did not become ready, on one line.

    The reason of each model that failed; without any, the first error; without any, how the log ends. `exit_code` is
    None while the server still runs.
    """
    errors = _error_entries(text)
    reasons: dict[str, str] = {}
    for entry in errors:
        for pattern in (_MODEL_FAILED, _POLL_FAILED):
            if found := pattern.search(entry):
                reasons.setdefault(found["model"], clean_reason(found["reason"]))
    if reasons:
        place = _syntax_place(text)
        return "; ".join(f"model '{model}': {reason}{place}" for model, reason in reasons.items())
    if errors:
        return clean_reason(errors[0])
    lines = [line for line in text.splitlines() if line.strip()]
    ended = f"it ended with status {exit_code}" if exit_code is not None else "it is still loading"
    return f"{ended}; its log ends: {lines[-1].strip()}" if lines else f"{ended} and logged nothing"


def clean_reason(reason: str) -> str:
    """A Triton message without what it says around the reason (status codes, Python frames), on one line."""
    text = _CODE.sub("", _LOAD_FAILED.sub("", reason.strip().strip('"'))).replace("\\n", "\n")
    kept = [line.strip() for line in text.split("\nAt:\n")[0].splitlines() if line.strip()]
    return " ".join(kept).removeprefix("TritonModelException: ")


def _error_entries(text: str) -> list[str]:
    entries = []
    for line in text.splitlines():
        if found := _ERROR_LINE.match(line):
            entries.append(found["text"])
        elif line.startswith("error: "):
            entries.append(line.removeprefix("error: "))
    return [entry for entry in entries if not any(known in entry for known in _HARMLESS)]


def _syntax_place(text: str) -> str:
    """Line and column of a config.pbtxt that does not parse; protobuf logs it apart from Triton's own line."""
    found = _PROTO_LINE.search(text)
    return f" (line {found['line']}, column {found['column']}: {found['text']})" if found else ""
