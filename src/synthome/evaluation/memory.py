"""Largest memory of this process over a stretch of work; Linux tells it exactly."""

import re
from contextlib import suppress
from pathlib import Path

STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def reset_peak() -> None:
    """Begin to measure; where the system cannot, the peak counts from the start of the process."""
    with suppress(OSError):
        RESET.write_text("5", encoding="ascii")


def peak_megabytes() -> float:
    """Largest resident memory since ``reset_peak``; NaN where the system does not tell."""
    with suppress(OSError):
        found = re.search(r"VmHWM:\s*(\d+) kB", STATUS.read_text(encoding="ascii"))
        if found:
            return int(found.group(1)) / 1024
    try:
        import resource
    except ImportError:  # Windows
        return float("nan")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
