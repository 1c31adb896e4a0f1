"""The files that runs of a bundle leave: result.json, and answers.npz where the job answers.

Copied into every bundle beside run.py, so it imports nothing of packc, and needs no package.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

RESULT, ANSWERS = "result.json", "answers.npz"
NEW_ANSWERS = ".answers.npz.part"
"""Those of a run that has not ended."""


def has_good_result(bundle: Path) -> bool:
    """Whether a run of this very job went well, and what it left is whole."""
    try:
        result = json.loads((bundle / RESULT).read_text("utf-8"))
        is_whole = result["answers"] is None or result["answers_sha256"] == hash_file(bundle / ANSWERS)
        is_of_job = result["job_sha256"] == hash_file(bundle / "job.json")
        return bool(is_whole and is_of_job and result["status"] == "ok")
    except (OSError, ValueError, LookupError, TypeError):
        return False


def remove_result(bundle: Path) -> None:
    """Removes what an earlier run left, the result first: answers without one mean nothing."""
    for stale in (RESULT, ANSWERS, NEW_ANSWERS):
        (bundle / stale).unlink(missing_ok=True)


def write_result(bundle: Path, result: dict[str, Any]) -> None:
    """Puts the answers and then the result of this run in the place of an earlier one's."""
    (bundle / RESULT).unlink(missing_ok=True)
    if result["answers"]:
        (bundle / NEW_ANSWERS).replace(bundle / ANSWERS)
    else:
        remove_result(bundle)
    part = bundle / f".{RESULT}.part"
    part.write_text(json.dumps(result, indent=1), "utf-8")
    part.replace(bundle / RESULT)  # readers see all of it or nothing


def hash_file(path: Path) -> str:
    """Hex sha256 of the file's content, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(2**20):
            digest.update(piece)
    return digest.hexdigest()
