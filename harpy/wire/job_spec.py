"""job.json: what a session was asked for, written by its driver, read by its workers, by the
driver that resumes it, and by people.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Annotated, Any

from harpy.config import Deadlines
from harpy.errors import ConfigError, ProtocolError
from harpy.wire import versions
from harpy.wire.record import Count, Kind, Named, Positive, Record
from harpy.wire.run_spec import RunSpec
from harpy.wire.unfit import Unfit, shown


class _Seconds(Kind):
    """Deadlines by name; missing ones have their defaults."""

    description = "an object of seconds"

    def write(self, value: Any) -> dict[str, float]:
        return asdict(value)

    def read(self, value: Any) -> Deadlines:
        names = {each.name for each in fields(Deadlines)}
        if not isinstance(value, Mapping) or not names >= value.keys():
            raise Unfit(self.description, shown(value))
        for name, seconds in value.items():
            if type(seconds) not in (int, float):
                raise Unfit("a number of seconds", shown(seconds), name)
        try:
            return Deadlines(**value)
        except ConfigError as exc:
            raise Unfit(self.description, str(exc)) from None


@dataclass(frozen=True)
class JobSpec(Record):
    """A session as its workers find it in the job directory.

    Attributes
    ----------
    owner : str or None
        The user name under which the cluster knows the driver.
    created : float
        Seconds since 1970.
    n_mem : int
        MB of one worker's whole container.
    wishes : frozenset of str
        Names of untouched defaults among the resources.
    keep_open : bool
        Wait for more runs after the first.
    first_run : RunSpec or None
        A run that begins without a driver.
    max_losses : int
        Workers that may be lost in the session.
    """

    NAME = "job.json"

    job_id: Named
    owner: str | None
    created: float
    launcher: Named
    n_node: Positive
    n_thread: Positive
    n_mem: Positive
    queue: str | None
    wishes: frozenset[str]
    keep_open: bool
    first_run: RunSpec | None
    max_losses: Count
    deadlines: Annotated[Deadlines, _Seconds()] = field(default_factory=Deadlines)

    def to_wire(self) -> dict[str, Any]:
        """As `Record.to_wire`, with the version of job.json."""
        return {"version": versions.JOB_JSON, **super().to_wire()}

    @classmethod
    def read(cls, value: Any) -> JobSpec:
        """As Record.read; ProtocolError for a job of another version."""
        version = value.get("version") if isinstance(value, Mapping) else None
        if type(version) is not int or version != versions.JOB_JSON:
            raise ProtocolError(
                f"job.json has version {shown(version)}, this harpy reads {versions.JOB_JSON}; "
                "driver and workers must run the same harpy"
            )
        return super().read({name: item for name, item in value.items() if name != "version"})
