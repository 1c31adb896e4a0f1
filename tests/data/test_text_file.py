from __future__ import annotations

from pathlib import Path

import pytest

from goldens import check_golden
from models import write_jsonl
from packc.data.text_file import read_text_file
from packc.errors import DataError


def write(path: Path, content: str) -> Path:
    path.write_text(content)
    return path


def test_jsonl_with_and_without_labels(tmp_path: Path) -> None:
    samples = read_text_file(write_jsonl(tmp_path / "a.jsonl", [{"text": "one", "id": 7}, {"text": "two"}]))
    assert (samples.texts, samples.labels) == (("one", "two"), ())
    assert samples.origin == str(tmp_path / "a.jsonl")
    samples = read_text_file(
        write_jsonl(tmp_path / "b.jsonl", [{"text": "x", "label": 1}, {"text": "y", "label": "no"}])
    )
    assert samples.labels == ("1", "no")


def test_a_tab_joins_pairs_and_is_a_space_elsewhere(tmp_path: Path) -> None:
    rows = [{"text": "who\tknows", "text_pair": "nobody"}, {"text": "a\tb"}]
    assert read_text_file(write_jsonl(tmp_path / "a.jsonl", rows)).texts == ("who knows\tnobody", "a b")


def test_lines_end_at_newlines_only(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", '{"text": "one\u2028line"}\r\n\n{"text": "two"}')
    assert read_text_file(path).texts == ("one\u2028line", "two")


def test_csv(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", 'text,text_pair,label,id\n"one, two",three,1,x\n"four\nfive",,0,y\n')
    samples = read_text_file(path)
    assert samples.texts == ("one, two\tthree", "four\nfive")
    assert samples.labels == ("1", "0")


def test_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"\xef\xbb\xbftext\nhello\n")
    assert read_text_file(path).texts == ("hello",)


BAD_FILES = {
    "empty.jsonl": "",
    "blank_lines.jsonl": "\n\n",
    "malformed.jsonl": (
        '{"text": "fine"}\n{"text": "no end\n["a list"]\n{"txt": "misspelt"}\n{"text": 3}\n{"text": " "}\n'
        '{"text": "a", "label": true}\n{"text": "a", "text_pair": ["b"]}\n'
    ),
    "many.jsonl": "nonsense\n" * 14,
    "some_labels.jsonl": '{"text": "a", "label": "x"}\n{"text": "b"}\n{"text": "c"}\n',
    "long_line.jsonl": '{"text": "' + "word " * 60 + '", "label": 1.5}\n',
    "empty.csv": "",
    "header_only.csv": "text,label\n",
    "no_text_column.csv": "sentence,label\nhello,1\n",
    "uneven.csv": "text,label\nhello,1\nhello, world,1\n,1\n",
    "open_quote.csv": 'text\nfine\n"never closed\n',
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_malformed(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        read_text_file(write(tmp_path / name, BAD_FILES[name]))
    check_golden(f"data/{name}.txt", caught.value.render().replace(str(tmp_path), "DIR") + "\n")


def test_not_utf8(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'{"text": "a"}\n{"text": "caf\xe9"}\n')
    with pytest.raises(DataError, match=r"a\.jsonl:2 is not UTF-8 text: invalid"):
        read_text_file(tmp_path / "a.jsonl")
