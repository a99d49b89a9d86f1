"""What a rank leaves in the run's directory about its part of the run."""

from __future__ import annotations

from dataclasses import dataclass

from harpy.wire.failure import Failure
from harpy.wire.record import Attempt, Count, Name, Rank, Record, RunNumber


@dataclass(frozen=True)
class Report(Record):
    """reports/rank-0000.json.

    Attributes
    ----------
    state : str
        "done" or "failed".
    started : float
        Seconds since 1970.
    error : Failure or None
        Why, of a failed one.
    """

    NAME = "report"

    rank: Rank
    run: RunNumber
    attempt: Attempt
    host: Name
    pid: Count
    state: Name
    started: float
    seconds: float
    error: Failure | None
