"""Every setting and default: argument, then HARPY_* variable, then Hadoop's files, then default."""

from __future__ import annotations

import getpass
import os
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from harpy.errors import ConfigError, HadoopNotFound

LAUNCHERS = ("auto", "local", "yarn")
# Read in this order; a later file overrides an earlier one, as Hadoop's client does.
SITE_FILES = ("core-site.xml", "hdfs-site.xml", "yarn-site.xml", "mapred-site.xml")

HOW_TO_CONFIGURE = (
    "  on a cluster's client machine: export HADOOP_CONF_DIR=/etc/hadoop/conf\n"
    '  for a cluster on this machine: harpy cluster up && eval "$(harpy cluster env)"\n'
    '  without Hadoop: launcher="local"'
)


@dataclass(frozen=True)
class Deadlines:
    """Every wait of harpy, in seconds. Each can be set as HARPY_<NAME>: HARPY_RENDEZVOUS_S=30."""

    first_contact_s: float = 10.0  # a NameNode or ResourceManager that does not answer is down
    storage_s: float = 60.0  # one storage operation with retries: survives a NameNode restart
    submit_s: float = 60.0  # from submission to an application id
    allocate_s: float = 600.0  # for all containers to start: a busy cluster is waited for, in sight
    give_back_s: float = 60.0  # for a part of the workers to hold room while the rest wait for some
    rendezvous_s: float = 60.0  # from the first worker's start until all have joined
    handshake_s: float = 5.0  # one authentication
    heartbeat_s: float = 2.0  # between two heartbeats of a worker
    silence_s: float = 10.0  # for which a worker may be silent
    checkpoint_s: float = 5.0  # at least, from one file of a run's state to the next
    collective_s: float = 600.0  # one collective: peers may still be computing
    abort_s: float = 20.0  # for the other workers to stop after the first failed
    stage_s: float = 600.0  # for a worker to wait until the driver has staged its data
    idle_s: float = 600.0  # a kept session without a run ends itself
    master_s: float = 30.0  # how long an application master may be silent while a worker is missing
    close_s: float = 30.0  # from "close" until the cluster says the job has ended
    kill_s: float = 30.0  # from "kill" until the cluster says so

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not value > 0:
                raise ConfigError(f"{field.name} must be a positive number of seconds, got {value}")

    @classmethod
    def from_environment(cls) -> Deadlines:
        """Deadlines as the environment sets them, else the defaults.

        Returns
        -------
        Deadlines

        Raises
        ------
        ConfigError
            A HARPY_*_S variable is not a positive number of seconds.
        """
        chosen = {}
        for field in fields(cls):
            text = os.environ.get(f"HARPY_{field.name.upper()}")
            if text is None:
                continue
            try:
                chosen[field.name] = float(text)
            except ValueError as exc:
                raise ConfigError(
                    f"HARPY_{field.name.upper()} must be a number of seconds, got {text!r}"
                ) from exc
        return cls(**chosen)


def max_losses() -> int:
    """How many workers a session may lose: HARPY_MAX_LOSSES, 3 by default.

    Returns
    -------
    int

    Raises
    ------
    ConfigError
        The variable is not a whole number from 0 on.
    """
    text = os.environ.get("HARPY_MAX_LOSSES", "3")
    if not text.isdecimal():
        raise ConfigError(f"HARPY_MAX_LOSSES must be a number of workers, 0 or more, got {text!r}")
    return int(text)


class HadoopConf(Mapping[str, str]):
    """What a Hadoop configuration directory says, with overrides on top (`-D key=value`).

    Parameters
    ----------
    values : mapping of str to str, optional
        The settings, overrides included.
    directory : Path, optional
        Where the site files lie; None: there are none.
    """

    def __init__(
        self, values: Mapping[str, str] | None = None, directory: Path | None = None
    ) -> None:
        self._values = dict(values or {})
        self.directory = directory

    @classmethod
    def load(cls, directory: Path, overrides: Mapping[str, str] | None = None) -> HadoopConf:
        """Read the site files of a directory.

        Parameters
        ----------
        directory : Path
            Of core-site.xml, hdfs-site.xml, yarn-site.xml and mapred-site.xml, as far as it has
            them.
        overrides : mapping of str to str, optional
            Settings that win over those of the files.

        Returns
        -------
        HadoopConf

        Raises
        ------
        HadoopNotFound
            The directory holds none of these files.
        ConfigError
            A file is not well-formed XML.
        """
        values: dict[str, str] = {}
        found = [directory / name for name in SITE_FILES if (directory / name).is_file()]
        if not found:
            raise HadoopNotFound(
                f"no Hadoop configuration in {directory}: expected one of "
                f"{', '.join(SITE_FILES)}.\n{HOW_TO_CONFIGURE}"
            )
        for path in found:
            values.update(_read_site_file(path))
        values.update(overrides or {})
        return cls(values, directory)

    def __getitem__(self, key: str) -> str:
        return self._values[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    @property
    def default_fs(self) -> str:
        """`fs.defaultFS` without a trailing slash, e.g. `hdfs://namenode:8020`."""
        return self.get("fs.defaultFS", "file:///").rstrip("/")


def _read_site_file(path: Path) -> dict[str, str]:
    try:
        root = ET.parse(path).getroot()
    except ET.ParseError as exc:
        raise ConfigError(f"{path} is not well-formed XML: {exc}") from exc
    pairs = ((p.findtext("name"), p.findtext("value")) for p in root.iter("property"))
    return {name.strip(): (value or "").strip() for name, value in pairs if name}


def hadoop_conf_dir() -> Path | None:
    """HADOOP_CONF_DIR, or $HADOOP_HOME/etc/hadoop if that exists."""
    given = os.environ.get("HADOOP_CONF_DIR")
    if given:
        return Path(given)
    home = os.environ.get("HADOOP_HOME")
    if home and (Path(home) / "etc" / "hadoop" / "core-site.xml").is_file():
        return Path(home) / "etc" / "hadoop"
    return None


def load_hadoop_conf(
    overrides: Mapping[str, str] | None = None, directory: Path | None = None
) -> HadoopConf:
    """The client's Hadoop configuration.

    Parameters
    ----------
    overrides : mapping of str to str, optional
        Settings that win over those of the files.
    directory : Path, optional
        Where the files lie; None: HADOOP_CONF_DIR, else $HADOOP_HOME/etc/hadoop.

    Returns
    -------
    HadoopConf

    Raises
    ------
    HadoopNotFound
        Nothing names a directory, or it holds no configuration; the message says how to get one.
    """
    directory = directory or hadoop_conf_dir()
    if directory is None:
        raise HadoopNotFound(
            "no Hadoop configuration: neither HADOOP_CONF_DIR nor HADOOP_HOME names one.\n"
            f"{HOW_TO_CONFIGURE}"
        )
    if not directory.is_dir():
        raise HadoopNotFound(f"HADOOP_CONF_DIR={directory} is not a directory.\n{HOW_TO_CONFIGURE}")
    return HadoopConf.load(directory, overrides)


def resolve_launcher(launcher: str = "auto") -> tuple[str, str]:
    """Choose the launcher: argument, then HARPY_LAUNCHER, then HADOOP_CONF_DIR, then "local".

    Parameters
    ----------
    launcher : {"auto", "local", "yarn"}, default "auto"
        Anything but "auto" is taken as it is.

    Returns
    -------
    (str, str)
        "yarn" or "local", and why in a few words.

    Raises
    ------
    ConfigError
        The argument, or HARPY_LAUNCHER, is none of these.
    """
    if launcher not in LAUNCHERS:
        raise ConfigError(f"launcher must be one of {', '.join(LAUNCHERS)}, got {launcher!r}")
    if launcher != "auto":
        return launcher, "as asked"
    chosen = os.environ.get("HARPY_LAUNCHER")
    if chosen:
        if chosen not in ("local", "yarn"):
            raise ConfigError(f"HARPY_LAUNCHER must be 'local' or 'yarn', got {chosen!r}")
        return chosen, "HARPY_LAUNCHER"
    if os.environ.get("HADOOP_CONF_DIR"):
        return "yarn", "HADOOP_CONF_DIR is set"
    return "local", "no HADOOP_CONF_DIR"


def hadoop_user() -> str:
    """Who the cluster takes us for under simple authentication."""
    return os.environ.get("HADOOP_USER_NAME") or getpass.getuser()
