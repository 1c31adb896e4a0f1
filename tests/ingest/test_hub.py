from __future__ import annotations

from pathlib import Path

import pytest

from packc.errors import SourceError
from packc.ingest.hub import HUB_ID, resolve_hub_id

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object]]:
    """Records what is asked of the hub; every question is answered with /snapshot."""
    made: list[dict[str, object]] = []

    def snapshot_download(repo: str, **options: object) -> str:
        made.append({"repo": repo, **options})
        return "/snapshot"

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    return made


def test_neither_code_nor_pickles_are_fetched(calls: list[dict[str, object]]) -> None:
    assert resolve_hub_id("acme/model", "v1") == Path("/snapshot")
    assert calls[0]["revision"] == "v1"
    assert calls[0]["allow_patterns"] == ["*.safetensors", "*.json", "*.txt", "*.model"]
    assert calls[0]["local_files_only"] is False


def test_code_is_fetched_when_it_is_trusted(calls: list[dict[str, object]]) -> None:
    resolve_hub_id("acme/model", None, with_code=True)
    assert "*.py" in str(calls[0]["allow_patterns"])


def test_a_commit_that_is_here_needs_no_network(calls: list[dict[str, object]]) -> None:
    resolve_hub_id("acme/model", COMMIT)
    assert [call["local_files_only"] for call in calls] == [True]


def test_offline_mode_is_obeyed(calls: list[dict[str, object]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    resolve_hub_id("acme/model", None)
    assert calls[0]["local_files_only"] is True


def test_unreachable_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub.errors import LocalEntryNotFoundError

    def snapshot_download(repo: str, **options: object) -> str:
        raise LocalEntryNotFoundError("no connection")

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    with pytest.raises(SourceError, match="the hub cannot be reached") as caught:
        resolve_hub_id("acme/model", "v1")
    assert "hf download acme/model --revision v1" in str(caught.value.hint)


@pytest.mark.parametrize(("text", "is_id"), [("bert-base", True), ("a/b.c", True), ("a/b/c", False), ("./a", False)])
def test_form_of_a_hub_id(text: str, is_id: bool) -> None:
    assert (HUB_ID.fullmatch(text) is not None) == is_id
