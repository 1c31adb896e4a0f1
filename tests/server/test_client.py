"""What needs no server; e2e/test_server.py asks real ones."""

from __future__ import annotations

import json

import numpy as np
import pytest

from packc.errors import MissingError, UsageError
from packc.server.client import check_url, connect, decode_answer, encode_request


def test_requests_are_encoded_in_tritons_binary_format() -> None:
    body, header_length = encode_request({"x": np.array([[1, 2]], np.int64), "text": np.array([[b"\xffhi"]], object)})
    header = json.loads(body[:header_length])
    assert [(i["name"], i["datatype"], i["shape"]) for i in header["inputs"]] == [
        ("x", "INT64", [1, 2]),
        ("text", "BYTES", [1, 1]),
    ]
    assert body[header_length:] == np.array([1, 2], np.int64).tobytes() + b"\x03\0\0\0\xffhi"


def test_texts_of_numpys_own_string_type_are_sent_too() -> None:
    body, header_length = encode_request({"text": np.array([["grün"]])})
    assert body[header_length:] == b"\x05\0\0\0" + "grün".encode()


def test_answers_are_decoded() -> None:
    values = np.array([[1.5, 2.5]], np.float32)
    header = {
        "model_name": "m",
        "outputs": [
            {"name": "y", "datatype": "FP32", "shape": [1, 2], "parameters": {"binary_data_size": values.nbytes}},
            {"name": "label", "datatype": "BYTES", "shape": [1, 1], "parameters": {"binary_data_size": 6}},
        ],
    }
    head = json.dumps(header).encode()
    body = head + values.tobytes() + b"\x02\0\0\0ok"
    response = b"HTTP/1.1 200 OK\r\nInference-Header-Content-Length: %d\r\n\r\n" % len(head) + body
    answers = decode_answer(response)
    np.testing.assert_array_equal(answers["y"], values)
    assert answers["label"].tolist() == [[b"ok"]]


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://host", "http://", "build/minilm"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="not the address of a Triton server"):
        check_url(url)


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_nobody_there(protocol: str) -> None:
    url = f"{protocol}://127.0.0.1:9"
    with pytest.raises(MissingError, match=f"no server answers at {url}") as caught, connect(url) as client:
        client.server_version()
    assert caught.value.exit_code == 5
