from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from packc.runtimes import RUNTIMES

PACKAGE = Path(__file__).resolve().parents[1] / "compiler" / "packc"

IMPORT_ALL = """
import importlib, json, sys

CORE = set(json.loads(sys.argv[2]))

class OnlyTheCore:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top not in CORE | sys.stdlib_module_names and not top.startswith("_sysconfigdata"):
            raise ModuleNotFoundError(f"{name} is not in the core of pack", name=name)

sys.meta_path.insert(0, OnlyTheCore())
failed = {}
for module in json.loads(sys.argv[1]):
    try:
        importlib.import_module(module)
    except Exception as error:
        failed[module] = f"{type(error).__name__}: {error}"
print(json.dumps(failed))
"""

CORE = {
    "packc",
    # its requirements,
    "click",
    "jinja2",
    "markupsafe",
    "numpy",
    "pydantic",
    # and what those import
    "annotated_types",
    "pydantic_core",
    "typing_extensions",
    "typing_inspection",
}

STARTED_ELSEWHERE = (
    "packc.server.backends",
    "packc.package.pipelines.engine_model",
    *(f"packc.runtimes.{runtime.engine.stem}" for runtime in RUNTIMES),
)
"""Code that runs in another environment: Triton's Python backend and job bundles import it, not pack."""


def list_modules() -> list[str]:
    files = (path.relative_to(PACKAGE.parent).with_suffix("") for path in PACKAGE.rglob("*.py"))
    names = (".".join(path.parts).removesuffix(".__init__") for path in files)
    return sorted(name for name in names if not name.startswith(STARTED_ELSEWHERE))


def import_all(modules: list[str]) -> dict[str, str]:
    command = [sys.executable, "-c", IMPORT_ALL, json.dumps(modules), json.dumps(sorted(CORE))]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    failed: dict[str, str] = json.loads(out.splitlines()[-1])
    return failed


def test_every_module_can_be_imported_with_the_core_alone() -> None:
    modules = list_modules()
    assert len(modules) > 50
    assert import_all(modules) == {}


def test_the_check_can_fail() -> None:
    assert list(import_all(["torch", "packc.errors"])) == ["torch"]
