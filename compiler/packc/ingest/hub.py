"""Resolves a Hugging Face hub id to a local snapshot that holds no code and no pickle."""

from __future__ import annotations

import re
from pathlib import Path

from packc.errors import MissingError, SourceError

ALLOWED_FILES = ("*.safetensors", "*.json", "*.txt", "*.model")
"""Weights, configs, vocabularies: what a checkpoint is made of."""

IGNORED_FILES = ("onnx/*", "openvino/*", "*/onnx/*", "*/openvino/*")
"""Exports that some repositories carry beside the checkpoint."""

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
_COMMIT = re.compile(r"[0-9a-f]{40}")


def resolve_hub_id(repo: str, revision: str | None, *, with_code: bool = False) -> Path:
    """Folder of the snapshot of `repo` at `revision` (default: its main branch), downloaded where it is missing.

    `with_code` also takes Python files, for checkpoints that bring their own. A full commit that is on disk needs no
    network; HF_HUB_OFFLINE=1 forbids it altogether. Raises SourceError when the model or its revision does not exist or
    cannot be reached.
    """
    try:
        from huggingface_hub import constants, errors, snapshot_download
    except ImportError as error:
        raise MissingError(
            f"reading the hub model {repo!r} needs huggingface_hub", hint="pip install 'packc[cpu]'"
        ) from error

    patterns = [*ALLOWED_FILES, *(["*.py"] if with_code else [])]
    is_commit = revision is not None and _COMMIT.fullmatch(revision) is not None

    def fetch(*, local_only: bool) -> Path:
        return Path(
            snapshot_download(
                repo,
                revision=revision,
                allow_patterns=patterns,
                ignore_patterns=list(IGNORED_FILES),
                local_files_only=local_only,
            )
        )

    where = f"{repo!r}" + (f" at revision {revision!r}" if revision else "")
    try:
        if is_commit:
            try:
                return fetch(local_only=True)
            except errors.LocalEntryNotFoundError:
                pass
        return fetch(local_only=bool(constants.HF_HUB_OFFLINE))
    except errors.GatedRepoError as error:
        raise SourceError(
            f"the hub model {where} is gated", hint="accept its terms on its page and log in: hf auth login"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise SourceError(
            f"{repo!r} is neither a folder here nor a model on the hub",
            hint="check the path, relative to the spec file, or the hub id; private models need: hf auth login",
        ) from error
    except errors.RevisionNotFoundError as error:
        raise SourceError(f"the hub model {repo!r} has no revision {revision!r}") from error
    except (errors.LocalEntryNotFoundError, errors.HfHubHTTPError, OSError) as error:
        reason = "HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else "the hub cannot be reached"
        raise SourceError(
            f"{repo!r} is not a folder here, and as a hub model {where} is not on this machine while {reason}",
            hint="check the path, relative to the spec file, or fetch the model first: "
            f"hf download {repo}" + (f" --revision {revision}" if revision else ""),
        ) from error
