"""What travels to the workers as JSON: job.json (JobSpec) and one run (RunSpec), with strict keys.

Data stay in the job directory (data/<hash>); a spec names them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from harpy.config import Deadlines
from harpy.errors import ConfigError

JOB_FORMAT = 1


@dataclass(frozen=True)
class RunSpec:
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

    run: int
    function: str = "main"
    module: str | None = None
    file: str | None = None
    origin: str = ""
    data: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, Any] | None = None
    deliver: bool = False

    def __post_init__(self) -> None:
        _expect("run", self.run, int, "a positive integer", lambda n: n > 0)
        _expect("function", self.function, str, "a name", bool)
        _expect("origin", self.origin, str, "a string")
        _expect("module", self.module, str | None, "a name or null")
        _expect("file", self.file, str | None, "a content hash or null")
        if (self.module is None) == (self.file is None):
            raise ConfigError("a run needs exactly one of 'module' and 'file'")
        if not isinstance(self.data, Mapping) or not all(
            isinstance(k, str) and isinstance(v, str) for k, v in self.data.items()
        ):
            raise ConfigError(f"data must map names to content hashes, got {self.data!r}")
        if self.params is not None and not isinstance(self.params, Mapping):
            raise ConfigError(f"params must be a mapping, got {type(self.params).__name__}")
        _expect("deliver", self.deliver, bool, "true or false")

    def to_json(self) -> dict[str, Any]:
        """Keys and values; arrays in `params` stay arrays, which only a control frame takes."""
        return {f.name: getattr(self, f.name) for f in fields(self)} | {"data": dict(self.data)}

    @classmethod
    def from_json(cls, value: Any) -> RunSpec:
        """ConfigError for anything that `to_json` would not have written."""
        if not isinstance(value, Mapping):
            raise ConfigError(f"a run must be an object, got {type(value).__name__}")
        unknown = set(value) - {f.name for f in fields(cls)}
        if unknown:
            raise ConfigError(f"a run has unknown keys: {', '.join(sorted(map(str, unknown)))}")
        try:
            return cls(**value)
        except TypeError as exc:
            raise ConfigError(f"a run is not complete: {exc}") from exc


@dataclass(frozen=True)
class JobSpec:
    """What job.json says to the workers; what else it holds is for people and `harpy jobs`."""

    job_id: str
    n_node: int
    n_thread: int
    keep_open: bool = False  # wait for more runs after the first
    first_run: RunSpec | None = None
    max_losses: int = 0  # of workers, in the session
    deadlines: Deadlines = field(default_factory=Deadlines)

    @classmethod
    def from_json(cls, value: Any) -> JobSpec:
        if not isinstance(value, Mapping) or value.get("version") != JOB_FORMAT:
            found = value.get("version") if isinstance(value, Mapping) else type(value).__name__
            raise ConfigError(
                f"job.json is of format {found}, this harpy reads format {JOB_FORMAT}; driver and "
                "workers must run the same version of harpy"
            )
        known = {f.name for f in fields(cls)}
        given = {key: item for key, item in value.items() if key in known}
        if given.get("first_run") is not None:
            given["first_run"] = RunSpec.from_json(given["first_run"])
        try:
            given["deadlines"] = Deadlines(**given.get("deadlines", {}))
            spec = cls(**given)
        except TypeError as exc:
            raise ConfigError(f"job.json is not complete: {exc}") from exc
        _expect("n_node", spec.n_node, int, "a positive integer", lambda n: n > 0)
        _expect("n_thread", spec.n_thread, int, "a positive integer", lambda n: n > 0)
        _expect("max_losses", spec.max_losses, int, "0 or more", lambda n: n >= 0)
        _expect("keep_open", spec.keep_open, bool, "true or false")
        _expect("job_id", spec.job_id, str, "a name", bool)
        return spec


def _expect(name: str, value: Any, kind: Any, words: str, check: Any = lambda _: True) -> None:
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)) or not check(value):
        raise ConfigError(f"{name} must be {words}, got {value!r}")
