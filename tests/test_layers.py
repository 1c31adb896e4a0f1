from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def lint_imports(config: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    code = "from importlinter.cli import lint_imports; import sys; sys.exit(lint_imports(config_filename=sys.argv[1]))"
    command = [sys.executable, "-c", code, str(config)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_every_import_goes_down(tmp_path: Path) -> None:
    done = lint_imports(ROOT / "pyproject.toml", tmp_path)
    assert done.returncode == 0, done.stdout
    assert "0 broken" in done.stdout


def test_the_check_can_fail(tmp_path: Path) -> None:
    upside_down = tmp_path / "layers.toml"
    upside_down.write_text(
        '[tool.importlinter]\nroot_package = "packc"\n'
        '[[tool.importlinter.contracts]]\nname = "upside down"\ntype = "layers"\n'
        'layers = ["packc.errors", "packc.cli"]\n'
    )
    done = lint_imports(upside_down, tmp_path)
    assert done.returncode == 1
    assert "BROKEN" in done.stdout


def test_every_module_has_a_layer() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layered = {name.strip() for layer in contracts[0]["layers"] for name in layer.split("|")}
    package = ROOT / "compiler" / "packc"
    modules = {path.stem for path in package.iterdir() if path.suffix == ".py"} - {"__init__"}
    folders = {path.name for path in package.iterdir() if (path / "__init__.py").is_file()}
    assert layered == modules | folders
