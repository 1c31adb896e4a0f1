from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from manifests import make_planned_manifest
from packc.cli.main import run
from packc.cli.packages import find_package, find_repository, find_servable, refuse_bundles
from packc.errors import UsageError
from packc.package.manifest_file import write_manifest
from served_packages import write_tensor_package


def test_a_package_is_found_from_all_its_folders(tmp_path: Path) -> None:
    package = write_tensor_package(tmp_path / "build" / "cpu")
    assert find_package(package) == package
    assert find_package(package / "model_repository") == package
    assert find_package(tmp_path / "build") == package, "the only target"
    assert find_repository(package) == find_repository(tmp_path / "build") == package / "model_repository"


def test_one_of_several_targets_has_to_be_named(tmp_path: Path) -> None:
    for target in ("cpu", "edge"):
        write_tensor_package(tmp_path / "build" / target)
    with pytest.raises(UsageError, match="holds packages for 2 targets") as caught:
        find_package(tmp_path / "build")
    assert str(tmp_path / "build" / "edge") in (caught.value.hint or "")


def test_a_repository_needs_no_package(tmp_path: Path) -> None:
    package = write_tensor_package(tmp_path / "package")
    repository = tmp_path / "models"
    (package / "model_repository").rename(repository)
    assert find_repository(repository) == repository
    with pytest.raises(UsageError, match="holds no package"):
        find_package(repository)


def test_job_bundles_are_to_be_run_first(tmp_path: Path) -> None:
    (tmp_path / "edge" / "job").mkdir(parents=True)
    write_manifest(tmp_path / "edge", replace(make_planned_manifest(), state="built"))
    with pytest.raises(UsageError, match="holds no model repository: its state is built") as caught:
        find_servable(tmp_path / "edge")
    assert caught.value.hint == (
        f"run its job bundles on the device, as {tmp_path}/edge/README.md says, and `pack import` what they measured"
    )
    write_manifest(tmp_path / "edge", make_planned_manifest())
    with pytest.raises(UsageError, match="its state is planned") as caught:
        find_servable(tmp_path / "edge")
    assert "pack report" in (caught.value.hint or "")


@pytest.mark.parametrize("command", ["lint", "serve", "verify", "bench", "push", "inspect", "report"])
def test_every_command_names_job_bundles_as_such(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = tmp_path / "edge" / "job" / "tensorrt-fp16"
    bundle.mkdir(parents=True)
    for file in (bundle / "job.json", bundle / "run.py", tmp_path / "edge" / "README.md"):
        file.touch()
    more = [str(tmp_path / "models")] if command == "push" else []
    for folder, message, pronoun in (
        (bundle, "is a job bundle, not a package", "it"),
        (bundle.parent, "holds job bundles, not a package", "them"),
    ):
        assert run([command, str(folder), *more]) == 2
        assert capsys.readouterr().err == (
            f"error: {folder} {message}\n\nhint: run {pronoun} on the device, as {tmp_path}/edge/README.md says, and "
            "`pack import` what was measured there\n"
        )


def test_bundles_without_their_readme_are_named_too(tmp_path: Path) -> None:
    for name in ("job.json", "run.py"):
        (tmp_path / name).touch()
    with pytest.raises(UsageError, match="is a job bundle") as caught:
        refuse_bundles(tmp_path)
    assert caught.value.hint == "run it on the device, and `pack import` what was measured there"
    (tmp_path / "run.py").unlink()
    refuse_bundles(tmp_path)


def test_what_is_neither(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not a folder"):
        find_package(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="holds no package"):
        find_repository(tmp_path)


def test_a_plan_has_no_repository(tmp_path: Path) -> None:
    write_manifest(tmp_path, make_planned_manifest())
    with pytest.raises(UsageError, match="holds no model repository: its state is planned"):
        find_repository(tmp_path)
