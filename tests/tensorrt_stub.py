"""TensorRT of one doubling network on a StubCuda, in three dialects.

What each class offers comes from the listings of the real modules (tests/golden/tensorrt, tests/tensorrt_api.py), so
that an engine which runs here touches nothing that the real one lacks. "ONNX files" are JSON texts of a `Network`.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, field
from enum import IntEnum
from inspect import isfunction, signature
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from cuda_memory import STREAM, StubCuda
from goldens import GOLDEN

VERSIONS = ("8.6", "10.16", "11.4")
DTYPES = {"float32": "FLOAT", "float16": "HALF", "int32": "INT32", "int64": "INT64", "bool": "BOOL", "bfloat16": "BF16"}
DEVICE_MISMATCH = "cache of another device"


@dataclass
class Network:
    """What an ONNX file says: tensor -> dtype and dims. Outputs are twice the first input."""

    inputs: dict[str, tuple[str, list[int]]]
    outputs: dict[str, tuple[str, list[int]]]
    unknown_operator: str = ""
    by_value: bool = False
    """Whether the first input's values decide shapes."""


def save_network(path: Path, **changes: Any) -> Path:
    """x[-1, 2] -> y[-1, 2] in fp32, or as `changes` say."""
    network = Network({"x": ("float32", [-1, 2])}, {"y": ("float32", [-1, 2])})
    path.write_text(json.dumps({**asdict(network), **changes}))
    return path


def read_api(version: str) -> tuple[str, dict[str, dict[str, str]]]:
    """TensorRT's full version, and class -> member -> what follows its name in the listing."""
    first, *lines = (GOLDEN / "tensorrt" / f"api-{version}.txt").read_text("utf-8").splitlines()
    classes: dict[str, dict[str, str]] = {}
    for line in lines:
        name, member, rest = re.match(r"(\w+)\.(\w+)(.*)", line).groups()
        classes.setdefault(name, {})[member] = rest
    return first.split()[1], classes


@dataclass
class World:
    """The knobs of a stub: errors that TensorRT logs when it fails. And what was done with it."""

    cuda: StubCuda
    dialect: int
    build_error: str = ""
    load_error: str = ""
    context_error: str = ""
    inspected: str = ""
    """What the inspector says instead of the layers that there are."""
    execute_error: str = ""
    address_error: str = ""
    configs: list[Any] = field(default_factory=list)
    creation_flags: list[int] = field(default_factory=list)


def make_tensorrt(version: str, world: World) -> SimpleNamespace:
    """The module `tensorrt`, with the classes and members of that version alone."""
    full, api = read_api(version)
    module = SimpleNamespace(__version__=full, world=world)
    for name, members in api.items():
        values = {member: int(rest[3:]) for member, rest in members.items() if rest.startswith(" = ")}
        if values and name != "ILogger":
            setattr(module, name, IntEnum(name, values))
        elif name in IMPLEMENTATIONS:
            setattr(module, name, restrict(IMPLEMENTATIONS[name], members, {**values, "_trt": module, "_world": world}))
    return module


def restrict(implementation: type, members: dict[str, str], extra: dict[str, Any]) -> type:
    """The class without the public members that the real one lacks; setting such a member fails, too."""
    kept = {k: v for k, v in vars(implementation).items() if k.startswith("_") or k in members}
    for name, member in kept.items():
        if isfunction(member) and not name.startswith("_"):
            parameters = ", ".join(list(signature(member).parameters)[1:])
            assert members[name].startswith(f"({parameters}"), f"{implementation.__name__}.{name}{members[name]}"

    def set_member(self: Any, name: str, value: Any) -> None:
        if not name.startswith("_") and name not in members and type(self).__name__ in IMPLEMENTATIONS:
            raise AttributeError(f"{implementation.__name__} has no {name}")
        object.__setattr__(self, name, value)

    for dropped in ("__dict__", "__weakref__"):
        kept.pop(dropped, None)
    return type(implementation.__name__, (), {**kept, **extra, "__setattr__": set_member})


class ILogger:
    def log(self, severity: Any, msg: str) -> None:
        raise RuntimeError('Tried to call pure virtual function "ILogger::log"')  # as the bindings do


class Builder:
    def __init__(self, logger: Any) -> None:
        self._log = logger

    def create_network(self, flags: int) -> Any:
        self._world.creation_flags.append(flags)
        return self._trt.INetworkDefinition()

    def create_builder_config(self) -> Any:
        config = self._trt.IBuilderConfig()
        config._log = self._log
        self._world.configs.append(config)
        return config

    def create_optimization_profile(self) -> Any:
        return self._trt.IOptimizationProfile()

    def build_serialized_network(self, network: Any, config: Any) -> bytes | None:
        world, trt = self._world, self._trt
        if world.build_error:
            self._log.log(trt.ILogger.ERROR, world.build_error)
            return None
        self._log.log(trt.ILogger.WARNING, "a warning")
        self._log.log(trt.ILogger.INFO, "small talk")
        plan = {
            "version": trt.__version__,
            "network": network._network,
            "profiles": [profile._ranges for profile in config._profiles],
            "own_code": any(flag.name == "VERSION_COMPATIBLE" for flag in config._flags),
        }
        return json.dumps(plan).encode()


class IBuilderConfig:
    builder_optimization_level = 3
    hardware_compatibility_level: Any = None
    profiling_verbosity: Any = None

    def __init__(self) -> None:
        flags = self._trt.BuilderFlag
        self._flags, self._profiles, self._pools = {flags.TF32}, [], {}
        self._sources: int | None = None
        self._cache: Any = None

    def set_flag(self, flag: Any) -> None:
        self._flags.add(flag)

    def clear_flag(self, flag: Any) -> None:
        self._flags.discard(flag)

    def set_memory_pool_limit(self, pool: Any, pool_size: int) -> None:
        self._pools[pool.name] = pool_size

    def set_tactic_sources(self, tactic_sources: int) -> bool:
        self._sources = tactic_sources
        return True

    def add_optimization_profile(self, profile: Any) -> int:
        self._profiles.append(profile)
        return len(self._profiles) - 1

    def create_timing_cache(self, serialized_timing_cache: bytes) -> Any:
        cache = self._trt.ITimingCache()
        cache._data = serialized_timing_cache
        return cache

    def set_timing_cache(self, cache: Any, ignore_mismatch: bool) -> bool:
        if cache._data == DEVICE_MISMATCH.encode() and not ignore_mismatch:
            self._log.log(self._trt.ILogger.ERROR, DEVICE_MISMATCH)
            return False
        self._cache = cache
        return True

    def get_timing_cache(self) -> Any:
        return self._cache


class ITimingCache:
    _data = b""

    def serialize(self) -> bytes:
        return self._data + b"+"


class INetworkDefinition:
    num_inputs = 0

    def get_input(self, index: int) -> Any:
        return self._inputs[index]


class ITensor:
    name: Any = None
    shape: Any = None
    is_shape_tensor: Any = None


class IOptimizationProfile:
    def __init__(self) -> None:
        self._ranges: dict[str, Any] = {}

    def set_shape(self, input: str, min: Any, opt: Any, max: Any) -> None:
        self._ranges[input] = [min, opt, max]


class OnnxParser:
    num_errors = 0

    def __init__(self, network: Any, logger: Any) -> None:
        self._network, self._log = network, logger

    def parse_from_file(self, model: str) -> bool:
        trt = self._trt
        read = json.loads(Path(model).read_text())
        operator = read["unknown_operator"]
        if operator:
            self.num_errors = 1
            node = f'input: "a"\nname: "/layer/act"\nop_type: "{operator}"\nattribute {{\n  name: "approximate"\n}}'
            for text in ("While parsing node number 3", "--- Begin node ---", node, "--- End node ---"):
                self._log.log(trt.ILogger.ERROR, text)
            return False
        self._network._network = read
        self._network.num_inputs = len(read["inputs"])
        self._network._inputs = []
        for name, (_, dims) in read["inputs"].items():
            tensor = trt.ITensor()
            tensor.name, tensor.shape, tensor.is_shape_tensor = name, dims, read["by_value"]
            self._network._inputs.append(tensor)
        return True

    def get_error(self, index: int) -> Any:
        return self._trt.ParserError()


class ParserError:
    def desc(self) -> str:
        return "No importer registered for op\nat line 7"

    def node_operator(self) -> str:
        return "Gelu"

    def node_name(self) -> str:
        return "/layer/act"


class Runtime:
    def __init__(self, logger: Any) -> None:
        self._log = logger
        self.engine_host_code_allowed = False

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> Any:
        world, trt = self._world, self._trt
        plan = json.loads(serialized_engine)
        error = world.load_error or ("no code allowed" if plan["own_code"] > self.engine_host_code_allowed else "")
        if error:
            self._log.log(trt.ILogger.ERROR, error)
            return None
        engine = trt.ICudaEngine()
        engine._log, engine._plan = self._log, plan
        engine._tensors = {**plan["network"]["inputs"], **plan["network"]["outputs"]}
        engine.num_io_tensors, engine.num_layers = len(engine._tensors), 3
        engine.num_optimization_profiles = len(plan["profiles"])
        return engine


class ICudaEngine:
    num_io_tensors = 0
    num_layers = 0
    num_optimization_profiles = 0

    def get_tensor_name(self, index: int) -> str:
        return list(self._tensors)[index]

    def get_tensor_mode(self, name: str) -> Any:
        mode = self._trt.TensorIOMode
        return mode.INPUT if name in self._plan["network"]["inputs"] else mode.OUTPUT

    def get_tensor_dtype(self, name: str) -> Any:
        dtype = DTYPES[self._tensors[name][0]]
        is_narrowed = dtype == "INT64" and self._world.dialect == 8
        return getattr(self._trt.DataType, "INT32" if is_narrowed else dtype)

    def get_tensor_shape(self, name: str) -> list[int]:
        return list(self._tensors[name][1])

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> Any:
        return self._plan["profiles"][profile_index][name]

    def create_execution_context(self) -> Any:
        world, trt = self._world, self._trt
        if world.context_error:
            self._log.log(trt.ILogger.ERROR, world.context_error)
            return None
        context = trt.IExecutionContext()
        context._engine, context._shapes, context._addresses = self, {}, {}
        return context

    def create_engine_inspector(self) -> Any:
        inspector = self._trt.EngineInspector()
        inspector._said = self._world.inspected
        return inspector


class EngineInspector:
    execution_context: Any = None
    _said = ""

    def get_engine_information(self, format: Any) -> str:
        assert format.name == "JSON"
        shapes = self.execution_context._shapes if self.execution_context else {}
        return self._said or json.dumps({"Layers": [{"Name": "double", "Shapes": shapes}]})


class IExecutionContext:
    _profile = 0

    def set_optimization_profile_async(self, profile_index: int, stream_handle: int) -> bool:
        assert stream_handle == STREAM
        self._profile = profile_index
        return True

    def set_input_shape(self, name: str, shape: Any) -> bool:
        self._shapes[name] = tuple(shape)
        return True

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        if name in self._shapes:
            return self._shapes[name]
        first = next(iter(self._shapes.values()))
        dims = self._engine.get_tensor_shape(name)
        return tuple(first[axis] if dim == -1 and axis < len(first) else dim for axis, dim in enumerate(dims))

    def set_tensor_address(self, name: str, memory: int) -> bool:
        if self._world.address_error:
            self._engine._log.log(self._trt.ILogger.ERROR, self._world.address_error)
            return False
        self._addresses[name] = memory
        return True

    def execute_async_v3(self, stream_handle: int) -> bool:
        world, engine = self._world, self._engine
        assert stream_handle == STREAM
        if world.execute_error:
            engine._log.log(self._trt.ILogger.ERROR, world.execute_error)
            return False
        first = next(iter(engine._plan["network"]["inputs"]))
        addresses = dict(self._addresses)

        def work() -> None:  # sizes lie in the context, and replays of a graph read them there
            x = self._read(first, addresses[first], self.get_tensor_shape(first))
            for name in engine._plan["network"]["outputs"]:
                y = self._read(name, addresses[name], self.get_tensor_shape(name))
                y[...] = np.resize(2 * x, y.shape)

        world.cuda.submit("execute", work)
        return True

    def _read(self, name: str, address: int, shape: tuple[int, ...]) -> Any:
        names = {v: k for k, v in DTYPES.items()}
        dtype = np.dtype(names[self._engine.get_tensor_dtype(name).name])
        size = int(np.prod(shape)) * dtype.itemsize
        return np.ndarray(shape, dtype, self._world.cuda.array_at(address, size))


IMPLEMENTATIONS = {
    cls.__name__: cls
    for cls in (
        Builder, EngineInspector, IBuilderConfig, ICudaEngine, IExecutionContext, ILogger, INetworkDefinition,
        IOptimizationProfile, ITensor, ITimingCache, OnnxParser, ParserError, Runtime,
    )
}  # fmt: skip
