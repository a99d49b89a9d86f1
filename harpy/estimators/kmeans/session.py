"""The session of an estimator: one of its own with what its parameters ask for, or a given one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harpy.errors import ConfigError
from harpy.session.session import Session

if TYPE_CHECKING:
    from harpy.estimators.kmeans.estimator import DAALKMeans

# What an untouched `workdir` becomes, below the user's home: nobody may write at HDFS's root.
DEFAULT_WORKDIR = "kmeans-work"
_SIZES = ("n_node", "n_thread", "n_mem")
_PLACES = ("workdir", "launcher", "queue", "hadoop_conf")


def untouched(model: DAALKMeans) -> frozenset[str]:
    """Names of the parameters about the session that still equal their defaults: wishes."""
    defaults = model._defaults
    return frozenset(name for name in (*_SIZES, *_PLACES) if getattr(model, name) == defaults[name])


def new_session(model: DAALKMeans, single_run: bool) -> Session:
    """A session that is not open yet, for one run or several."""
    wishes = untouched(model)
    return Session(
        int(model.n_node),
        int(model.n_thread),
        int(model.n_mem),
        launcher=model.launcher,
        workdir=None if "workdir" in wishes else model.workdir,
        default_workdir=DEFAULT_WORKDIR,
        queue=model.queue,
        hadoop_conf=model.hadoop_conf,
        name="kmeans",
        keep=model.keep,
        single_run=single_run,
        progress=True if model.progress is None and model.verbose else model.progress,
        wishes=wishes & {"n_thread", "n_mem"},
    )


def refuse_contradictions(model: DAALKMeans, session: Session) -> None:
    """A value the user gave is a demand, which an open session may not meet: ConfigError."""
    wishes = untouched(model)
    for name in _SIZES:
        asked, granted = getattr(model, name), getattr(session.options, name)
        if name not in wishes and asked != granted:
            raise ConfigError(
                f"{name}={asked} contradicts the given session, which has {name}={granted}: "
                f"leave {name} at its default, or open a session with it"
            )
    given = [name for name in _PLACES if name not in wishes]
    if given:
        raise ConfigError(
            f"{', '.join(given)} cannot be chosen for a session that is open already: give it "
            "to harpy.Session"
        )
