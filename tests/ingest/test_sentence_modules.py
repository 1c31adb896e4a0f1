from __future__ import annotations

from pathlib import Path

import pytest

from checkpoints import write_bert_folder, write_sentence_files
from models import write_json
from packc.errors import SourceError
from packc.ingest.sentence_modules import SentenceModules, read_sentence_modules
from packc.spec.model import Pooling


@pytest.mark.parametrize(
    ("names", "normalize"), [(("Transformer", "Pooling"), False), (("Transformer", "Pooling", "Normalize"), True)]
)
def test_a_chain_that_pack_repeats(names: tuple[str, ...], normalize: bool, tmp_path: Path) -> None:
    folder = write_sentence_files(write_bert_folder(tmp_path / "st"), *names)
    assert read_sentence_modules(folder) == SentenceModules(folder, "mean", normalize, 32)


@pytest.mark.parametrize(("settings", "pooling"), [
    ({"pooling_mode": "max"}, "max"), ({"pooling_mode": ["cls"]}, "cls"),
    ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, "cls"),
])  # fmt: skip
def test_pooling_is_read_as_old_and_new_versions_write_it(
    settings: dict[str, object], pooling: Pooling, tmp_path: Path
) -> None:
    folder = write_sentence_files(write_bert_folder(tmp_path / "st"), "Transformer", "Pooling", pooling=settings)
    modules = read_sentence_modules(folder)
    assert modules is not None
    assert modules.pooling == pooling


@pytest.mark.parametrize("names", [("Transformer",), ("Transformer", "Pooling", "Dense"), ("BoW", "Pooling")])
def test_another_chain_is_refused(names: tuple[str, ...], tmp_path: Path) -> None:
    folder = write_sentence_files(write_bert_folder(tmp_path / "st"), *names)
    with pytest.raises(SourceError, match=f"chains {' -> '.join(names)}: pack repeats Transformer"):
        read_sentence_modules(folder)


def test_two_poolings_at_once_are_refused(tmp_path: Path) -> None:
    both = {"pooling_mode_cls_token": True, "pooling_mode_max_tokens": True}
    folder = write_sentence_files(write_bert_folder(tmp_path / "st"), "Transformer", "Pooling", pooling=both)
    with pytest.raises(SourceError, match=r"pools by pooling_mode_cls_token \+ pooling_mode_max_tokens"):
        read_sentence_modules(folder)


@pytest.mark.parametrize("content", ["{", '[{"type": "Transformer"}]', "[1]"])
def test_a_broken_list_is_told(content: str, tmp_path: Path) -> None:
    folder = write_bert_folder(tmp_path / "st")
    (folder / "modules.json").write_text(content)
    with pytest.raises(SourceError, match="is not a list of sentence-transformers modules"):
        read_sentence_modules(folder)


def test_no_modules_file_is_no_sentence_encoder(tmp_path: Path) -> None:
    assert read_sentence_modules(write_bert_folder(tmp_path / "bert")) is None


def test_prompt_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = write_sentence_files(write_bert_folder(tmp_path / "st"), "Transformer", "Pooling")
    write_json(folder / "config_sentence_transformers.json", {"default_prompt_name": "query"})
    read_sentence_modules(folder)
    assert "puts its prompt 'query' before every text" in caplog.text


@pytest.mark.parametrize("lowers", [True, False])
def test_lowering_must_be_in_the_tokenizer(lowers: bool, tmp_path: Path) -> None:
    folder = write_sentence_files(write_bert_folder(tmp_path / "st"), "Transformer", "Pooling")
    write_json(folder / "sentence_bert_config.json", {"do_lower_case": True})
    write_json(folder / "tokenizer.json", {"normalizer": {"type": "BertNormalizer", "lowercase": lowers}})
    if lowers:
        assert read_sentence_modules(folder) is not None
    else:
        with pytest.raises(SourceError, match="lowers the case of texts"):
            read_sentence_modules(folder)
