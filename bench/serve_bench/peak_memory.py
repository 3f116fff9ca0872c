"""Read how much memory a process has held (Linux).

`ru_maxrss` is not usable: after exec it still holds the peak of the process that started this one.
"""

from pathlib import Path


def peak_mb(process: int | str = "self") -> float:
    """Return the peak memory of a running process so far, by its number, in MB. Default: this process."""
    status = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))) / 1024
