"""What a cluster is asked to be, and what is known of one that runs."""

from __future__ import annotations

import ipaddress
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from harpy.errors import ClusterError, ConfigError

FORMAT = 1


@dataclass(frozen=True)
class Shape:
    """What a cluster is asked to be. `memory_mb` and `vcores` are booked per node manager;
    `settings` are Hadoop's, on top of the profile's."""

    nodes: int = 1
    memory_mb: int = 12288  # one worker of the default n_mem (10240) and its application master
    vcores: int = 16  # one worker of the default n_thread (8) and its application master
    stock: bool = False  # Hadoop's own defaults instead of the quick profile
    bind: str = "127.0.0.1"
    settings: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, smallest, largest in (
            ("nodes", 1, 64),
            ("memory_mb", 1024, 1 << 24),
            ("vcores", 1, 4096),
        ):
            value = getattr(self, name)
            if not smallest <= value <= largest:
                raise ConfigError(f"{name} must be from {smallest} to {largest}, got {value}")
        try:
            ipaddress.IPv4Address(self.bind)
        except ValueError as exc:
            raise ConfigError(
                f"bind must be a numeric IPv4 address of this machine, got {self.bind!r}"
            ) from exc

    @classmethod
    def of(cls, *, stock: bool = False, **given: int | str | Mapping[str, str] | None) -> Shape:
        """Return a shape from what was given, None meaning the profile's default.

        Stock is Hadoop's default node: 8192 MB and 8 vcores.
        """
        chosen: dict[str, Any] = {"memory_mb": 8192, "vcores": 8} if stock else {}
        chosen.update((name, value) for name, value in given.items() if value is not None)
        return cls(stock=stock, **chosen)


@dataclass(frozen=True)
class Process:
    """A daemon as it was started; pid and start time together name one process for good."""

    name: str
    pid: int
    started: float  # seconds since the epoch, as psutil tells it


@dataclass(frozen=True)
class State:
    """What cluster.json holds."""

    home: Path
    shape: Shape
    ports: dict[str, int]
    distribution: str  # directory of Hadoop's jars
    java_home: str
    archive: str | None  # of Hadoop's classes, see class_archive.py
    owner: str  # unix user
    hadoop: str
    started: float  # when it was up, seconds since the epoch
    users: tuple[str, ...] = ()
    daemons: tuple[Process, ...] = ()

    def url(self, port: str) -> str:
        """Return http://… of a web port such as "resourcemanager.http"."""
        return f"http://{self.shape.bind}:{self.ports[port]}"

    @property
    def namenode(self) -> str:
        """URL of the NameNode."""
        return f"hdfs://{self.shape.bind}:{self.ports['namenode.rpc']}"

    def save(self, path: Path) -> None:
        """Write cluster.json."""
        content: dict[str, Any] = asdict(self)
        content["home"] = str(self.home)
        content = {"format": FORMAT, **content}
        write_atomically(path, json.dumps(content, indent=2) + "\n")

    @classmethod
    def load(cls, path: Path) -> State:
        """Read cluster.json; ClusterError when it is of another version or damaged."""
        try:
            content = json.loads(path.read_text())
            if content.pop("format") != FORMAT:
                raise ValueError("another format version")
            content["home"] = Path(content["home"])
            content["shape"] = Shape(**content["shape"])
            content["users"] = tuple(content["users"])
            content["daemons"] = tuple(Process(**d) for d in content["daemons"])
            return cls(**content)
        except (ValueError, KeyError, TypeError) as exc:
            raise ClusterError(
                f"{path} cannot be read ({exc}); was it written by another version of harpy?\n"
                f"  next: harpy cluster down --home {path.parent}"
            ) from exc


def write_atomically(path: Path, text: str) -> None:
    """Write a world-readable file that is either the old one or the new one, never half."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(text)
        temporary.chmod(0o644)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
