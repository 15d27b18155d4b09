"""Timing in pairs, A B A B ..., so that a drifting machine slows both sides alike.

A benchmark never passes or fails anything: it writes what was measured.
"""

import json
import multiprocessing
import os
import platform
import resource
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


@dataclass
class Comparison:
    """Seconds of ours and of the reference, pair by pair, and what goes with them."""

    name: str
    claim: str
    protocol: str
    ours: list[float]
    reference: list[float]
    peak_mb: dict[str, float] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def ratios(self) -> list[float]:
        """Reference over ours of each pair: above 1, ours is faster."""
        return [b / a for a, b in zip(self.ours, self.reference, strict=True)]

    def write(self) -> None:
        """One JSON file, and its row in the table of all results."""
        RESULTS.mkdir(exist_ok=True)
        whole = asdict(self) | {
            "ratio": summary(self.ratios),
            "ours_s": summary(self.ours),
            "reference_s": summary(self.reference),
            "machine": machine(),
        }
        (RESULTS / f"{self.name}.json").write_text(json.dumps(whole, indent=1) + "\n")
        write_table()


def summary(values: list[float]) -> dict[str, float]:
    """Minimum, median and maximum."""
    return {
        "min": round(min(values), 4),
        "median": round(statistics.median(values), 4),
        "max": round(max(values), 4),
    }


def machine() -> dict[str, Any]:
    """What the numbers were measured on, without naming it."""
    import torch

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "cpus": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": gpu,
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def clock_of(device: str) -> Callable[[], float]:
    """Seconds of the processor for one thread of a CPU; those on the wall for a GPU."""
    return time.perf_counter if device == "cuda" else time.process_time


def seconds_of(device: str) -> str:
    """What ``clock_of`` counts, for the protocol."""
    return "seconds on the wall" if device == "cuda" else "seconds of the processor"


def in_pairs(
    ours: Callable[[], object],
    reference: Callable[[], object],
    pairs: int = 7,
    warmup: int = 1,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[list[float], list[float]]:
    """Seconds of each, run in turn after ``warmup`` uncounted pairs.

    With one thread, ``time.process_time`` is a clock that others on the machine hardly move.
    """
    times: tuple[list[float], list[float]] = ([], [])
    for i in range(pairs + warmup):
        for side, function in zip(times, (ours, reference), strict=True):
            start = clock()
            function()
            if i >= warmup:
                side.append(clock() - start)
    return times


def peak_memory(function: Callable[[], object]) -> float:
    """Peak resident memory in MB of a fresh process that runs ``function`` once."""
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=_report_peak, args=(function, queue))
    process.start()
    peak = queue.get()
    process.join()
    return peak


def _report_peak(function: Callable[[], object], queue: Any) -> None:
    function()
    queue.put(round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1))


def write_table() -> None:
    """Gather every JSON result in one Markdown table."""
    lines = [
        "# Benchmarks",
        "",
        "Ours against a reference, run in turn (A B A B ...) after a warm-up; medians, with the",
        "smallest and largest in brackets. A ratio above 1 means that ours is faster. `make bench`",
        "writes this file.",
        "",
        "| benchmark | claim | ours, s | reference, s | ratio | peak memory, MB | more |",
        "|---|---|---|---|---|---|---|",
    ]
    for path in sorted(RESULTS.glob("*.json")):
        result = json.loads(path.read_text())
        cells = [_spread(result[key]) for key in ("ours_s", "reference_s", "ratio")]
        memory = ", ".join(f"{k} {v:,.0f}" for k, v in result["peak_mb"].items())
        more = "; ".join(f"{k}: {v}" for k, v in result["extra"].items())
        row = [result["name"], result["claim"], *cells, memory, more]
        lines.append("| " + " | ".join(row) + " |")
    (RESULTS / "README.md").write_text("\n".join(lines) + "\n")


def _spread(values: dict[str, float]) -> str:
    return f"{values['median']:.3g} [{values['min']:.3g}, {values['max']:.3g}]"
