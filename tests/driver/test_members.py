"""Which targets of a combined package have been built, and which have a package."""

from __future__ import annotations

from pathlib import Path

from gpu_packages import FP16, change, write_built, write_measured
from packc.driver.members import read_members
from packc.package.manifest import VerdictRecord
from packc.target_profiles import find_target


def test_members_are_what_builds_left(tmp_path: Path) -> None:
    profile = find_target("nvidia-l4", tmp_path)
    write_measured(tmp_path, "l4", 2.0)
    write_built(tmp_path, "t4", {FP16: 2.0})
    members, missing = read_members([(name, profile) for name in ("l4", "none", "t4")], tmp_path)
    assert [(member.target, member.folder, member.has_package) for member in members] == [
        ("l4", tmp_path / "l4", True),
        ("t4", tmp_path / "t4", False),
    ]
    assert missing == [("none", profile)]


def test_a_repository_without_a_choice_is_no_package(tmp_path: Path) -> None:
    package = write_measured(tmp_path, "l4", 2.0)
    change(package, verdict=VerdictRecord(False, None, ("missed",)))
    (member,), _ = read_members([("l4", find_target("nvidia-l4", tmp_path))], tmp_path)
    assert not member.has_package
