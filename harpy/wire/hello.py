"""The launcher's first and only line to a worker. The local launcher writes it by `Hello.to_line`,
the task's JVM by WorkerCommand.java, whose keys a test holds to this class.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

from harpy.errors import ProtocolError
from harpy.wire import versions
from harpy.wire.record import Attempt, Count, Kind, Name, Named, Positive, Rank, Record
from harpy.wire.unfit import Unfit

SECRET_BYTES = 32  # at least


class _Secret(Kind):
    """Bytes as hexadecimal digits; errors show nothing of them."""

    description = f"at least {2 * SECRET_BYTES} hexadecimal digits"

    def write(self, value: Any) -> str:
        digits: str = value.hex()
        return digits

    def read(self, value: Any) -> bytes:
        try:
            secret = bytes.fromhex(value)
        except (TypeError, ValueError):
            raise Unfit(self.description, "something else") from None
        if len(secret) < SECRET_BYTES:
            raise Unfit(self.description, str(2 * len(secret)))
        return secret


class _Ports(Kind):
    """First and last port to try; 0 and 0 for any."""

    description = "two port numbers"

    def write(self, value: Any) -> list[int]:
        return list(value)

    def read(self, value: Any) -> tuple[int, int]:
        first, last = super().read(value)
        return first, last

    def fits(self, value: Any) -> bool:
        return (
            isinstance(value, list)
            and len(value) == 2
            and all(type(port) is int and 0 <= port <= 65535 for port in value)
        )


@dataclass(frozen=True, repr=False)
class Hello(Record):
    """What the launcher tells a worker.

    Attributes
    ----------
    secret : bytes
        Of the session; never leaves the process.
    bind : str
        Numeric local address to listen on.
    port_range : (int, int)
        First and last port to try; 0 and 0 for any.
    hadoop_conf_dir : str or None
        Where the HDFS client finds its configuration.
    memory_mb : int or None
        What this process may use; None, or 0 on the line, where memory is not limited.
    hadoop_conf : mapping of str to str
        On top of the files in that directory; on YARN it is part of them.
    """

    NAME = "hello"

    rank: Rank
    n_node: Positive
    attempt: Attempt
    n_thread: Positive
    job_url: Named
    secret: Annotated[bytes, _Secret()]
    bind: Name
    port_range: Annotated[tuple[int, int], _Ports()] = (0, 0)
    hadoop_conf_dir: str | None = None
    memory_mb: Count | None = None
    hadoop_conf: Mapping[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"Hello(rank={self.rank}, attempt={self.attempt}, job_url={self.job_url!r})"

    def to_line(self) -> bytes:
        """The line, its end included."""
        said = {"protocol": versions.WORKER_LINES, **self.to_wire()}
        return json.dumps(said).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> Hello:
        """What `to_line` gave; ProtocolError, which never shows the line: it holds the secret."""
        try:
            said = json.loads(line)
        except (ValueError, RecursionError) as exc:
            raise ProtocolError(f"malformed hello: no JSON ({type(exc).__name__})") from None
        protocol = said.pop("protocol", None) if isinstance(said, dict) else None
        if type(protocol) is not int or protocol != versions.WORKER_LINES:
            raise ProtocolError(
                f"malformed hello: protocol {protocol!r:.50}, this worker speaks "
                f"{versions.WORKER_LINES}"
            )
        hello = cls.from_wire(said)
        if hello.rank >= hello.n_node:
            raise ProtocolError(f"malformed hello: rank {hello.rank} of {hello.n_node} workers")
        return replace(hello, memory_mb=hello.memory_mb or None)
