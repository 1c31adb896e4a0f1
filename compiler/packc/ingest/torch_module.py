"""Looks at a `package.module:factory` source without running any of it.

The protocol: `factory()` takes no argument and returns `(module, example_inputs)`, an nn.Module and a dict of tensors
whose keys are the names of the module's arguments. Dimension 0 of each tensor is the batch and may vary; the other
dimensions are fixed. The module returns a tensor, a tuple of tensors or a dict of tensors.
"""

from __future__ import annotations

import ast
import logging
import re
import sys
from importlib.machinery import PathFinder
from pathlib import Path

from packc.errors import SourceError
from packc.ingest.fingerprint import fingerprint_files
from packc.ingest.source import SourceInfo
from packc.spec.model import ModelSection

log = logging.getLogger(__name__)

CONTENT_SUFFIXES = frozenset({".py", ".safetensors", ".pt", ".pth", ".ckpt", ".bin", ".npz", ".npy"})
"""Code and weights, among the files beside a module that is in no package."""

FACTORY = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


def inspect_factory(location: str, model: ModelSection) -> SourceInfo:
    """What is known of the factory before it runs: where its code is. Raises SourceError when it cannot be found.

    The fingerprint covers the files of its top-level package; for a module that is in none, the code and weights that
    lie beside it. What the factory loads from elsewhere is not seen, and the log says so.
    """
    module, factory = location.split(":")
    file = find_module_file(module)
    if factory not in _top_level_names(file):
        raise SourceError(f"{file} defines no {factory!r}", hint="the source is 'package.module:factory'")
    root, files = _find_content(module, file)
    log.info(
        "all code and weights in %s count as part of %s; a change of what it loads from outside %s is not noticed",
        root,
        location,
        root,
    )
    return SourceInfo(
        origin="torch",
        location=location,
        revision=None,
        fingerprint=fingerprint_files(files, root),
        task=model.task or "tensors",
        architecture=None,
        geometry=None,
        preprocessing=None,
        pooling="none",
        normalize=False,
        labels=(),
        parameters=0,
        weights_mib=0.0,
        trust_remote_code=model.trust_remote_code,
    )


def _find_content(module: str, file: Path) -> tuple[Path, list[Path]]:
    """The folder of the module's top-level package, or of the module that is in none; its files that matter."""
    is_package = file.name == "__init__.py"
    above = len(module.split(".")) - (1 if not is_package else 0)
    root = file.parents[above - 1] if above else file.parent
    found = root.rglob("*") if above else root.glob("*")
    kept = [entry for entry in found if entry.is_file() and not _is_left_out(entry.relative_to(root))]
    return root, [entry for entry in kept if above or entry == file or entry.suffix in CONTENT_SUFFIXES]


def _is_left_out(path: Path) -> bool:
    return any(part == "__pycache__" or part.startswith(".") for part in path.parts)


def _top_level_names(file: Path) -> set[str]:
    try:
        statements = ast.parse(file.read_bytes()).body
    except SyntaxError as error:
        raise SourceError(f"{file}:{error.lineno}: {error.msg}") from error
    names: set[str] = set()
    for statement in statements:
        if isinstance(statement, ast.FunctionDef | ast.ClassDef):
            names.add(statement.name)
        elif isinstance(statement, ast.Import | ast.ImportFrom):
            names |= {alias.asname or alias.name for alias in statement.names}
        elif isinstance(statement, ast.Assign):
            names |= {target.id for target in statement.targets if isinstance(target, ast.Name)}
    return names


def search_path() -> list[str]:
    """Where factories are looked for: the working directory, then Python's own path."""
    return [str(Path.cwd()), *(entry for entry in sys.path if entry)]


def find_module_file(module: str) -> Path:
    """The source file of a dotted module name, found without importing its parents."""
    places: list[str] | None = search_path()
    spec = None
    parts = module.split(".")
    for i in range(len(parts)):
        name = ".".join(parts[: i + 1])
        spec = PathFinder.find_spec(name, places)
        if spec is None:
            raise SourceError(
                f"cannot find the Python module {name!r}",
                hint="run pack where it can be imported: its parent is the working directory, or it is installed",
            )
        places = list(spec.submodule_search_locations or [])
    if spec is None or spec.origin is None or not Path(spec.origin).is_file():
        raise SourceError(f"the Python module {module!r} has no source file")
    return Path(spec.origin)
