"""Finds the data that ships with pack, in a checkout and in an installed wheel alike."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def resource_dir(kind: str) -> Path:
    """Folder of shipped data of `kind` ("templates" or "targets").

    A wheel carries it as `packc/_data/<kind>`, a checkout as `<repository>/<kind>`.
    Raises FileNotFoundError when neither exists, which means a broken installation.
    """
    for folder in (_PACKAGE / "_data" / kind, _PACKAGE.parents[1] / kind):
        if folder.is_dir():
            return folder
    raise FileNotFoundError(f"the installation lacks its {kind!r} folder: reinstall packc")
