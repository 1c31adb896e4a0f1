"""Says what is installed, and what each kind of target still needs."""

from __future__ import annotations

import platform
from dataclasses import dataclass

from packc import __version__
from packc.errors import MissingError
from packc.extras import EXTRAS, Library, list_libraries
from packc.host import probe_host
from packc.plan import describe_lack
from packc.runtimes.onnxruntime_cuda import OnnxRuntimeCuda
from packc.runtimes.tensorrt_python import Lookup, find_tensorrt
from packc.server.environment import find_server
from packc.target import Target, TargetKind
from packc.target_profiles import find_host_gpu

INSTALL_SERVER = "pack doctor --install server"


@dataclass(frozen=True, slots=True)
class Need:
    """What a kind of target lacks here, and the commands that bring it, ready to paste."""

    kind: TargetKind
    missing: tuple[str, ...]
    commands: tuple[str, ...]

    @property
    def is_ready(self) -> bool:
        return not self.missing


@dataclass(frozen=True, slots=True)
class Health:
    """The state of this installation."""

    python: str
    pack: str
    host: Target
    gpu: Target | None
    """This machine's NVIDIA GPU."""
    libraries: tuple[Library, ...]
    tensorrt: Lookup
    """In this Python or the one that was named for it."""
    server: str | None
    """The Triton server that verifies packages, or None."""
    server_problem: str | None
    """Why the server that was named cannot be used."""
    needs: tuple[Need, ...]

    @property
    def is_ready(self) -> bool:
        """Whether everything is here that building, verifying and serving for a CPU takes."""
        return all(need.is_ready for need in self.needs if need.kind == "cpu")


def examine() -> Health:
    """Looks at this installation; imports none of the libraries and starts nothing but the Python that has TensorRT."""
    libraries, gpu, tensorrt = list_libraries(), find_host_gpu(), find_tensorrt()
    server, problem = None, None
    try:
        server = find_server()
    except MissingError as error:
        problem = str(error)
    return Health(
        python=platform.python_version(),
        pack=__version__,
        host=probe_host(),
        gpu=gpu,
        libraries=libraries,
        tensorrt=tensorrt,
        server=str(server) if server else None,
        server_problem=problem,
        needs=(
            _list_cpu_needs(libraries, server is not None, problem),
            _list_gpu_needs(gpu, libraries),
            _list_jetson_needs(gpu, tensorrt),
            Need("neuron", (describe_lack("neuron"),), ()),
        ),
    )


def _list_cpu_needs(libraries: tuple[Library, ...], has_server: bool, problem: str | None) -> Need:
    missing, commands = [], []
    for extra in EXTRAS:
        lacking = [library for library in libraries if library.extra == extra and not library.is_ready]
        missing += [_say_lack(library) for library in lacking]
        commands += [f"pip install 'packc[{extra}]'"] if lacking else []
    if not has_server:
        missing.append(problem or "a Triton server")
        commands += [] if problem else [INSTALL_SERVER]
    return Need("cpu", tuple(missing), tuple(commands))


def _say_lack(library: Library) -> str:
    found = f", found {library.version}" if library.version else ""
    return f"{library.name} {library.wanted}".rstrip() + found


def _list_gpu_needs(gpu: Target | None, libraries: tuple[Library, ...]) -> Need:
    """What building for a GPU of this machine takes beyond a CPU's needs."""
    if gpu is None or gpu.kind != "cuda":
        return Need("cuda", (NO_GPU,), ())
    runtime = OnnxRuntimeCuda()
    if runtime.versions():
        return Need("cuda", (), ())
    ours = next((library.version for library in libraries if library.name == "onnxruntime"), None)
    wanted = f"=={ours}" if ours else ">=1.23"
    return Need("cuda", (runtime.requirement,), (f"pip install 'onnxruntime-gpu[cuda,cudnn]{wanted}'",))


def _list_jetson_needs(gpu: Target | None, tensorrt: Lookup) -> Need:
    """What building for the Jetson that this machine is takes: the TensorRT of its system."""
    if gpu is None or gpu.kind != "jetson":
        return Need("jetson", (NO_JETSON,), ())
    return Need("jetson", () if tensorrt.found else (tensorrt.problem,), ())


NO_GPU = "there is no NVIDIA GPU here; builds for one elsewhere end in job bundles that run there"
NO_JETSON = "this machine is none; builds for one end in job bundles that run there"
