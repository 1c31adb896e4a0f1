from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

from packc.runtimes.aotinductor_cuda import FACTS
from packc.runtimes.tensorrt_python import ENGINE_FILES

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
    *(f"packc.runtimes.{path.stem}" for path in (PACKAGE / "runtimes").glob("*_engine.py")),
    *(f"packc.runtimes.{path.stem}" for path in (*ENGINE_FILES, FACTS)),
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


def find_reporting(tree: ast.Module) -> list[int]:
    """Lines that import openvino while nothing before them has hidden its telemetry."""
    lines: dict[str, list[int]] = {"import": [], "hide": []}
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        if any(name.partition(".")[0] in ("openvino", "nncf") for name in names):
            lines["import"].append(node.lineno)
        if isinstance(node, ast.Assign) and ast.unparse(node) == "sys.modules['openvino_telemetry'] = None":
            lines["hide"].append(node.lineno)
    return sorted(line for line in lines["import"] if not any(hidden < line for hidden in lines["hide"]))


def test_openvino_sends_nothing() -> None:
    reporting = {path.name: find_reporting(ast.parse(path.read_text())) for path in PACKAGE.rglob("*.py")}
    assert {name: lines for name, lines in reporting.items() if lines} == {}
    assert find_reporting(ast.parse("import sys\nfrom openvino import opset13")) == [2]


def test_the_check_can_fail() -> None:
    assert list(import_all(["torch", "packc.errors"])) == ["torch"]
