"""What a build costs: CPU seconds cold and warm, peak memory, and the start of `pack --help`.

    python benchmarks/build_cost.py [examples/minilm/spec.toml] [--runs N]

Every figure is of whole processes as the operating system counts them, children included. "Peak of the tree" samples
the resident memory of all processes of the build 20 times a second (proportional set size: shared pages count once).
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "minilm" / "spec.toml"
PACK = str(Path(sys.executable).with_name("pack"))


@dataclass(frozen=True, slots=True)
class Cost:
    """One command: wall and CPU seconds, and the largest memory of its processes together, MiB."""

    wall_s: float
    cpu_s: float
    peak_mib: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("spec", type=Path, nargs="?", default=EXAMPLE)
    parser.add_argument("--runs", type=int, default=1, help="cold builds")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pack-cost-") as folder:
        out, cache = Path(folder) / "out", Path(folder) / "cache"
        server = Path.home() / ".cache" / "packc" / "server"
        build = [PACK, "--quiet", "build", str(arguments.spec), "--out", str(out), "--json"]
        cold = []
        for _ in range(arguments.runs):
            shutil.rmtree(out, ignore_errors=True)
            shutil.rmtree(cache, ignore_errors=True)
            cache.mkdir()
            if server.is_dir():
                (cache / "server").symlink_to(server)  # the server's own installation is not part of a build
            cold.append(measure(build, cache))
        warm = [measure(build, cache) for _ in range(5)]
        helped = [measure([PACK, "--help"], cache) for _ in range(10)]
    print("| command | CPU s | wall s | peak of the tree, MiB |\n|---|---|---|---|")
    for name, costs in (("cold build", cold), ("warm build", warm), ("pack --help", helped)):
        figures = [statistics.median(getattr(c, key) for c in costs) for key in ("cpu_s", "wall_s", "peak_mib")]
        print(f"| {name} (median of {len(costs)}) | {figures[0]:.2f} | {figures[1]:.2f} | {figures[2]:.0f} |")


def measure(command: list[str], cache: Path) -> Cost:
    """Runs `command` to its end."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    environment = {**os.environ, "PACK_CACHE_DIR": str(cache), "HF_HUB_OFFLINE": "1"}
    child = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    peak_mib = 0.0
    while child.poll() is None:
        peak_mib = max(peak_mib, sum(read_pss_mib(pid) for pid in list_tree(child.pid)))
        time.sleep(0.05)
    wall_s = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if child.returncode:
        sys.exit(f"{' '.join(command)} ended with {child.returncode}")
    return Cost(wall_s, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, peak_mib)


def list_tree(root: int) -> list[int]:
    """`root` and all processes below it."""
    found = [root]
    for pid in found:
        try:
            found += [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        except OSError:
            continue
    return found


def read_pss_mib(pid: int) -> float:
    """Proportional set size; 0 for a process that has ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("Pss:")), 0.0)


if __name__ == "__main__":
    main()
