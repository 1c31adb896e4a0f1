"""A client for one Triton server over HTTP or gRPC: the same few calls and the same errors for both."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from packc.errors import MissingError, PackError, UsageError
from packc.samples import Array, Sample
from packc.tensors import TensorSpec

Answers = dict[str, Array]

_HEAD_END = b"\r\n\r\n"
_PORTS = {"http": 8000, "https": 443, "grpc": 8001, "grpcs": 443}
_DTYPES = {
    "BOOL": "bool",
    "UINT8": "uint8",
    "UINT16": "uint16",
    "UINT32": "uint32",
    "UINT64": "uint64",
    "INT8": "int8",
    "INT16": "int16",
    "INT32": "int32",
    "INT64": "int64",
    "FP16": "float16",
    "FP32": "float32",
    "FP64": "float64",
    "BYTES": "object",
}


class RequestFailed(PackError):
    """The server refused a request, or did not answer it."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(f"{message}: {reason}")
        self.reason = reason
        """The server's own words."""


class Client:
    """Calls on one server; made by `connect`. Every call raises RequestFailed with the server's own message."""

    def __init__(self, url: str, timeout_s: float) -> None:
        address = urlsplit(url)
        self.url = url
        self.protocol = address.scheme.rstrip("s")
        self._timeout_s = timeout_s
        self._module = _import_client(self.protocol)
        host = f"{address.hostname}:{address.port or _PORTS[address.scheme]}{address.path.rstrip('/')}"
        is_secure = address.scheme.endswith("s")
        options: dict[str, Any] = {"network_timeout": timeout_s} if self.protocol == "http" else {}
        self._client = self._module.InferenceServerClient(host, ssl=is_secure, **options)

    def close(self) -> None:
        """Closes the connection: an open one makes Triton wait before it exits."""
        self._client.close()

    def server_version(self) -> str:
        """Name and version as the server says them: "triton 2.51.0"."""
        said = self._call("get_server_metadata")
        return f"{said['name']} {said['version']}"

    def is_ready(self, model: str, version: str = "") -> bool:
        """Whether `model` (its `version`, or any) takes requests."""
        return bool(self._call("is_model_ready", model, version))

    def describe_model(self, model: str) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
        """Inputs and outputs of `model`; a size of -1 becomes the name "any", and "batch" at the front."""
        said = self._call("get_model_metadata", model)
        return tuple(map(_read_tensor, said["inputs"])), tuple(map(_read_tensor, said["outputs"]))

    def model_versions(self, model: str) -> tuple[str, ...]:
        """Versions of `model` that are ready."""
        return tuple(self._call("get_model_metadata", model)["versions"])

    def model_config(self, model: str) -> dict[str, Any]:
        """The configuration of `model`, as config.pbtxt has it."""
        said = self._call("get_model_config", model)
        config: dict[str, Any] = said.get("config", said)  # gRPC wraps it
        return config

    def infer(self, model: str, inputs: Sample, *, version: str = "") -> Answers:
        """The model's outputs for `inputs`; strings are arrays of objects, `bytes` each."""
        tensors = _make_inputs(self._module, inputs)
        result = self._call("infer", model, tensors, model_version=version)
        said = result.get_response(as_json=True) if self.protocol == "grpc" else result.get_response()
        return {output["name"]: result.as_numpy(output["name"]) for output in said["outputs"]}

    def load(self, model: str, config: str | None = None, files: Mapping[str, bytes] | None = None) -> None:
        """Loads `model` (explicit control) from the server's repository, or from `config` (JSON) and `files`."""
        named = {f"file:{path}": content for path, content in (files or {}).items()} or None
        self._call("load_model", model, config=config, files=named)

    def unload(self, model: str) -> None:
        """Unloads `model` (explicit control)."""
        self._call("unload_model", model)

    def _call(self, method: str, *args: object, **options: object) -> Any:
        from tritonclient.utils import InferenceServerException

        if self.protocol == "grpc":
            options["client_timeout"] = self._timeout_s
            if method.startswith("get_"):
                options["as_json"] = True
        try:
            return getattr(self._client, method)(*args, **options)
        except InferenceServerException as error:
            if "UNAVAILABLE" in str(error.status()) and "connect" in str(error.message()).lower():
                raise _unreachable(self.url) from error
            raise RequestFailed(f"{self.url} refused {method}", str(error.message()).strip()) from error
        except (OSError, TimeoutError) as error:
            if isinstance(error, ConnectionRefusedError):
                raise _unreachable(self.url) from error
            raise RequestFailed(f"{self.url} did not answer {method}", str(error)) from error


@contextlib.contextmanager
def connect(url: str, *, timeout_s: float = 60.0) -> Iterator[Client]:
    """A client for `http://host:port` or `grpc://host:port` (or https, grpcs), closed at exit.

    Raises UsageError when `url` is not one, MissingError without the tritonclient package or without a server.
    """
    check_url(url)
    client = Client(url, timeout_s)
    try:
        yield client
    finally:
        client.close()


def check_url(url: str) -> None:
    """Raises UsageError unless `url` is the address of a server."""
    address = urlsplit(url)
    if address.scheme not in _PORTS or not address.hostname:
        raise UsageError(
            f"{url!r} is not the address of a Triton server", hint="write http://HOST:8000 or grpc://HOST:8001"
        )


def encode_request(inputs: Sample) -> tuple[bytes, int]:
    """(body of an HTTP inference request, length of its JSON header), in Triton's binary tensor format."""
    module = _import_client("http")
    body, header_length = module.InferenceServerClient.generate_request_body(_make_inputs(module, inputs))
    return bytes(body), header_length or len(body)


def decode_answer(response: bytes) -> Answers:
    """The outputs in a whole HTTP response, head included."""
    module = _import_client("http")
    head, body = response.split(_HEAD_END, 1)
    lengths = [
        int(line.split(b":", 1)[1])
        for line in head.split(b"\r\n")
        if line.lower().startswith(b"inference-header-content-length:")
    ]
    result = module.InferenceServerClient.parse_response_body(body, header_length=lengths[0] if lengths else None)
    return {output["name"]: result.as_numpy(output["name"]) for output in result.get_response()["outputs"]}


def _import_client(protocol: str) -> Any:
    try:
        if protocol == "http":
            import tritonclient.http as client
        else:
            import tritonclient.grpc as client
    except ImportError as error:
        raise MissingError(
            "talking to a Triton server needs the tritonclient package", hint='pip install "packc[server]"'
        ) from error
    return client


def _make_inputs(module: Any, inputs: Sample) -> list[Any]:
    from tritonclient.utils import np_to_triton_dtype

    tensors = []
    for name, array in inputs.items():
        values = array.astype(object) if array.dtype.kind in "US" else array
        tensor = module.InferInput(name, list(values.shape), np_to_triton_dtype(values.dtype))
        tensor.set_data_from_numpy(np.ascontiguousarray(values))
        tensors.append(tensor)
    return tensors


def _read_tensor(said: Mapping[str, Any]) -> TensorSpec:
    sizes = [int(size) for size in said["shape"]]
    shape = tuple(("batch" if i == 0 else "any") if size < 0 else size for i, size in enumerate(sizes))
    return TensorSpec(said["name"], _DTYPES.get(said["datatype"], said["datatype"].lower()), shape)


def _unreachable(url: str) -> MissingError:
    return MissingError(
        f"no server answers at {url}",
        hint="mend the address, or start one: `pack serve DIR` serves a package, and a Triton that is pushed to needs "
        "--model-control-mode=explicit",
    )
