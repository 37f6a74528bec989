"""What this process has used, what it may use, and when it is to end."""

from __future__ import annotations

import ctypes
import re
import resource
import signal
import sys
from pathlib import Path

from retorch.limits import limit_memory

_STATUS = Path("/proc/self/status")
_PR_SET_PDEATHSIG = 1
#: What libraries say where memory runs out.
_NO_MEMORY = re.compile(r"bad_alloc|bad allocation|MemoryError|[Cc]annot allocate memory|out of memory")


def reset_peak() -> None:
    """Forget how much memory was resident at most; where the system cannot, the peak stays that of the process."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:  # not Linux, or not allowed in this container
        return


def peak_mb() -> float:
    """The most memory that was resident at a time, in MB."""
    kb = _status("VmHWM")
    if kb is None:
        kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(kb / 1024, 1)


def limit(memory: int, seconds: float) -> None:
    """From here on this process may take so many bytes more, and so many seconds of a processor.

    What counts is memory that is written to; mapped files do not.
    """
    used = (_status("VmData") or 0) << 10
    limit_memory(used + memory)
    times = resource.getrusage(resource.RUSAGE_SELF)
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    resource.setrlimit(resource.RLIMIT_CPU, (int(times.ru_utime + times.ru_stime + seconds) + 2, hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _status(name: str) -> int | None:
    """A line of the system's own account, in kB."""
    try:
        text = _STATUS.read_text(encoding="ascii")
    except OSError:
        return None
    found = re.search(rf"^{name}:\s*(\d+) kB", text, re.MULTILINE)
    return int(found[1]) if found else None


def die_with_parent() -> None:
    """End this process when the one that started it ends, however that happens; Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def means_no_memory(text: str) -> bool:
    """Whether an error message, or what was printed before an abort, says that memory ran out."""
    return _NO_MEMORY.search(text) is not None
