from __future__ import annotations

import dataclasses
import logging
from pathlib import Path

import pytest

from packc.errors import PushError, UsageError
from packc.package.lint import lint_repository
from packc.package.manifest_file import hash_files, read_manifest, write_manifest
from packc.push.folder import RepositoryFolder
from packc.push.release import pushed_members, read_release, release_of
from served_packages import write_tensor_package, write_text_package


def seal(package: Path) -> None:
    """Writes the hashes of what is there, as a build would."""
    write_manifest(package, dataclasses.replace(read_manifest(package), files=hash_files(package)))


def test_members_are_named_by_their_content(tmp_path: Path) -> None:
    release = read_release(write_text_package(tmp_path / "one"))
    assert release.name == "letters"
    assert release.precision == "fp32"
    names = [member.name for member in release.members]
    assert all(name.startswith("letters-") and len(name.rsplit("-", 1)[1]) == 8 for name in names)
    assert pushed_members(release.entry.config) == set(names), "the ensemble's steps name them"
    again = read_release(write_text_package(tmp_path / "two"))
    assert [member.name for member in again.members] == names
    other = read_release(write_text_package(tmp_path / "three", scale=3.0, promised=3.0))
    assert len({member.name for member in other.members} & set(names)) == 1, "the tokenizer is the same"


def test_a_single_model_keeps_its_name(tmp_path: Path) -> None:
    release = read_release(write_tensor_package(tmp_path / "package"))
    assert release.members == ()
    assert list(release.entry.files_at(7)) == ["7/model.onnx"]
    assert release.entry.renamed("other").name == "other"
    assert release.name == "tiny"


def test_a_release_is_known_by_all_of_its_content(tmp_path: Path) -> None:
    one, same, other = (
        release_of(read_release(write_text_package(tmp_path / name, scale=scale, promised=scale)).entry.config)
        for name, scale in (("one", 2.0), ("same", 2.0), ("other", 3.0))
    )
    assert one == same != other
    config = read_release(write_tensor_package(tmp_path / "tensors")).entry.config
    assert len({one, other, release_of(config)} - {""}) == 3
    config.parameters.clear()
    assert release_of(config) == ""


def test_members_that_pack_did_not_push_are_left_alone(tmp_path: Path) -> None:
    config = read_release(write_text_package(tmp_path / "package")).entry.config
    config.ensemble_scheduling.step[0].model_name = "letters-tokenizer"
    config.ensemble_scheduling.step[1].model_name = "others-model-0123abcd"
    assert pushed_members(config) == set()


def test_a_package_that_was_changed_is_refused(tmp_path: Path) -> None:
    package = write_text_package(tmp_path / "package")
    (package / "model_repository" / "letters-tokenizer" / "1" / "model.py").write_text("pass\n")
    (package / "golden" / "requests.json").unlink()
    with pytest.raises(PushError) as caught:
        read_release(package)
    assert "model_repository/letters-tokenizer/1/model.py was changed" in str(caught.value)
    assert "golden/requests.json is missing" in str(caught.value)
    assert caught.value.exit_code == 6


def test_a_repository_that_breaks_a_rule_is_refused(tmp_path: Path) -> None:
    package = write_tensor_package(tmp_path / "package")
    config = package / "model_repository" / "tiny" / "config.pbtxt"
    config.write_text(config.read_text().replace("dims: 4", "dims: 5"))
    seal(package)
    with pytest.raises(PushError, match=r"the package's repository is not valid:\n.*config\.pbtxt:"):
        read_release(package)


def test_a_package_that_was_never_verified_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    package = write_tensor_package(tmp_path / "package")
    write_manifest(package, dataclasses.replace(read_manifest(package), state="measured"))
    with caplog.at_level(logging.WARNING):
        read_release(package)
    assert "was never verified by a real server (its state is measured)" in caplog.text


def test_what_is_no_package_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not a package"):
        read_release(tmp_path)


def test_a_package_that_misses_a_promise_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    package = write_tensor_package(tmp_path / "package")
    manifest = read_manifest(package)
    missed = dataclasses.replace(manifest.verdict, met=False, reasons=("budget missed: p99 18 ms of 15 ms",))
    write_manifest(package, dataclasses.replace(manifest, verdict=missed))
    with caplog.at_level(logging.WARNING):
        read_release(package)
    assert "misses a promise: budget missed: p99 18 ms of 15 ms" in caplog.text


def test_configurations_of_other_names_are_renamed_with_their_models(tmp_path: Path) -> None:
    package = write_text_package(tmp_path / "package")
    for model in ("letters", "letters-model"):
        folder = package / "model_repository" / model
        (folder / "configs").mkdir()
        text = (folder / "config.pbtxt").read_text().replace(f'name: "{model}"\n', "", 1)
        (folder / "configs" / "l4.pbtxt").write_text(text)
    seal(package)
    release = read_release(package)
    own = release.entry.configs["configs/l4.pbtxt"]
    names = {member.name for member in release.members}
    assert {step.model_name for step in own.ensemble_scheduling.step} == names
    assert "configs/l4.pbtxt" not in release.entry.files
    RepositoryFolder().push(release, str(tmp_path / "served"))
    (member,) = (name for name in names if name.startswith("letters-model-"))
    assert [found for found in lint_repository(tmp_path / "served") if found.severity == "error"] == []
    assert (tmp_path / "served" / member / "configs" / "l4.pbtxt").is_file()
