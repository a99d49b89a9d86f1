"""A control group whose members the kernel's OOM killer ends when they take too much. Needs root,
and the memory controller of cgroup v1 or v2."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
V1 = ROOT / "memory"


@dataclass(frozen=True)
class MemoryCgroup:
    folder: Path

    @property
    def members(self) -> Path:
        """The file to which a process writes its number to become one."""
        return self.folder / "cgroup.procs"

    def n_killed(self) -> int:
        """How many members the kernel has killed."""
        file = self.folder / ("memory.oom_control" if self.folder.parent == V1 else "memory.events")
        counts = dict(line.split() for line in file.read_text().splitlines())
        return int(counts["oom_kill"])


def unavailable() -> str | None:
    """Why there can be no such group here, or None."""
    if os.geteuid() != 0:
        return "making a control group needs root"
    if V1.is_dir():
        return None if os.access(V1, os.W_OK) else f"{V1} cannot be written"
    controllers = ROOT / "cgroup.subtree_control"
    if not controllers.is_file() or "memory" not in controllers.read_text().split():
        return f"{ROOT} hands out no memory controller"
    return None if os.access(ROOT, os.W_OK) else f"{ROOT} cannot be written"


@contextmanager
def memory_cgroup(limit_mb: int) -> Iterator[MemoryCgroup]:
    """A group that may have so much; its members must be gone at the end."""
    is_v1 = V1.is_dir()
    folder = (V1 if is_v1 else ROOT) / f"harpy-test-{os.getpid()}"
    folder.mkdir()
    try:
        limit = folder / ("memory.limit_in_bytes" if is_v1 else "memory.max")
        limit.write_text(str(limit_mb << 20))
        swap = folder / ("memory.swappiness" if is_v1 else "memory.swap.max")
        if swap.exists():
            swap.write_text("0")
        yield MemoryCgroup(folder)
    finally:
        folder.rmdir()
