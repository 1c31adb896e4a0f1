"""What the wheel carries, and that an installation of it finds its data."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from packc import __version__

ROOT = Path(__file__).resolve().parents[1]
PACKED = ("compiler", "templates", "targets", "pyproject.toml", "README.md", ".gitignore")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy of what it is made of, without a network."""
    source = tmp_path_factory.mktemp("source")
    for name in PACKED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(ROOT / name, source / name)
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(source)]
    subprocess.run(command, check=True, capture_output=True, text=True)
    (path,) = out.iterdir()
    return path


@pytest.fixture(scope="module")
def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_the_name_says_version_and_that_it_runs_anywhere(wheel: Path) -> None:
    assert wheel.name == f"packc-{__version__}-py3-none-any.whl"


def test_all_sources_are_in_it(names: set[str]) -> None:
    sources = {path.relative_to(ROOT / "compiler").as_posix() for path in (ROOT / "compiler" / "packc").rglob("*.py")}
    assert sources <= names
    assert {"packc/py.typed", "packc/server/backends/onnxruntime/model.py", "packc/jobs/runner.py"} <= names


@pytest.mark.parametrize("kind", ["templates", "targets"])
def test_all_data_is_in_it(names: set[str], kind: str) -> None:
    files = {path.relative_to(ROOT).as_posix() for path in (ROOT / kind).rglob("*") if path.is_file()}
    assert files
    assert {f"packc/_data/{file}" for file in files} <= names


def test_nothing_else_is_in_it(names: set[str]) -> None:
    assert {name.split("/")[0] for name in names} == {"packc", f"packc-{__version__}.dist-info"}
    assert not [name for name in names if "test" in name.split("/")[-1] or "__pycache__" in name]


def test_the_core_does_not_need_a_framework(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        metadata = archive.read(f"packc-{__version__}.dist-info/METADATA").decode()
    required = [line for line in metadata.splitlines() if line.startswith("Requires-Dist:") and "extra ==" not in line]
    names = {line.split()[1].split(">")[0].lower() for line in required}
    assert names == {"click", "jinja2", "markupsafe", "numpy", "pydantic"}


def test_an_installation_finds_templates_and_targets(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "import packc, packc.resources as r\n"
        "print(packc.__file__, *(r.resource_dir(kind) for kind in ('templates', 'targets')))"
    )
    out = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert all(path.startswith(str(tmp_path)) for path in out)


def test_constraints_agree_with_the_requirements() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *(r for extra in project["optional-dependencies"].values() for r in extra)]
    for requirement in wanted:
        name = requirement.split("[")[0].split(">")[0].split("=")[0].lower()
        assert name == "packc" or name in pinned, f"constraints.txt does not pin {name}"
        if "==" in requirement:
            assert pinned[name] == requirement.split("==")[1]
