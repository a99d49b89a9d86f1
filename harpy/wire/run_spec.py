"""One run as it travels: in job.json, in run.json and in the control messages that begin it.

Its rows stay in the job directory (data/<hash>); a spec names them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from harpy.errors import ConfigError
from harpy.wire.record import Named, Record, RunNumber


@dataclass(frozen=True)
class RunSpec(Record):
    """One program on one session. Exactly one of `module` and `file` is set.

    Attributes
    ----------
    run : int
        Number of the run in its session, from 1.
    function : str
        Name of the function to call with the Context; dots reach into classes.
    module : str or None
        Importable module that holds it.
    file : str or None
        Content hash of a program file in the job directory that holds it.
    origin : str
        Where the program came from, for messages.
    data : mapping of str to str
        Name in `ctx.data` -> content hash of a staged array.
    params : mapping or None
        The parameters themselves (on the control channel also with arrays in them); None: they are
        in the run's directory.
    deliver : bool
        Results travel to the driver on the control channel as far as they are small, instead of
        through files; for runs that make no sense without their driver.
    """

    NAME = "run"

    run: RunNumber
    function: Named = "main"
    module: str | None = None
    file: str | None = None
    origin: str = ""
    data: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, Any] | None = None
    deliver: bool = False

    def __post_init__(self) -> None:
        if (self.module is None) == (self.file is None):
            raise ConfigError("a run needs exactly one of 'module' and 'file'")
