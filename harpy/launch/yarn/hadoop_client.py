"""Finds the Java and the Hadoop client of this machine. Starts no JVM; that is submitter.py's."""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from harpy.errors import HadoopNotFound, JavaNotFound

# The launcher jar is compiled for Java 8; if Hadoop's own classes need more, the JVM says so.
OLDEST_JAVA = 8
_CLASSPATH_TIMEOUT_S = 20.0
_JAVA_VERSION_TIMEOUT_S = 20.0


@dataclass(frozen=True)
class Java:
    """One Java runtime: its program and its feature version (8, 11, 17, …)."""

    program: Path
    version: int


def find_java() -> Java:
    """Return the Java of JAVA_HOME, else of PATH.

    Raises
    ------
    JavaNotFound
        There is none, or it is older than the launcher needs.
    """
    home = os.environ.get("JAVA_HOME")
    if home:
        program = Path(home) / "bin" / "java"
        if not os.access(program, os.X_OK):
            raise JavaNotFound(
                f"JAVA_HOME={home} holds no Java: {program} is missing or not executable.\n"
                "  Point JAVA_HOME at a JRE or JDK, or unset it to use the java of PATH."
            )
    else:
        on_path = shutil.which("java")
        if on_path is None:
            raise JavaNotFound(
                "no Java: JAVA_HOME is not set and there is no 'java' on PATH.\n"
                "  Debian/Ubuntu: apt-get install openjdk-17-jre-headless"
            )
        program = Path(on_path)
    version = _java_version(program.resolve())
    if version < OLDEST_JAVA:
        raise JavaNotFound(
            f"{program} is Java {version}; harpy's launcher needs {OLDEST_JAVA} or newer.\n"
            "  Point JAVA_HOME at a newer one."
        )
    return Java(program, version)


def class_archive_flags(archive: str | Path) -> list[str]:
    """Options that let a Java of at least 17 begin with archived classes.

    Mapped at the address they were made for. At a random one, which newer builds prefer, a JVM
    would first patch every page: 0.1 s, and 100 MB that are its own instead of everybody's.
    """
    return [
        f"-XX:SharedArchiveFile={archive}",
        "-XX:+UnlockDiagnosticVMOptions",
        "-XX:ArchiveRelocationMode=0",
    ]


@functools.cache
def _java_version(program: Path) -> int:
    """The feature version, from the `release` file beside it (no process), else by asking it."""
    release = program.parent.parent / "release"
    try:
        found = re.search(r'^JAVA_VERSION="([^"]+)"', release.read_text(), re.MULTILINE)
    except OSError:
        found = None
    if found is None:
        try:
            asked = subprocess.run(
                [str(program), "-version"],
                capture_output=True,
                text=True,
                timeout=_JAVA_VERSION_TIMEOUT_S,
                check=True,
            )
        except (OSError, subprocess.SubprocessError) as exc:
            raise JavaNotFound(f"{program} -version failed: {exc}") from exc
        found = re.search(r'version "([^"]+)"', asked.stderr + asked.stdout)
    if found is None:
        raise JavaNotFound(f"{program} does not say its version")
    return feature_version(found.group(1))


def feature_version(text: str) -> int:
    """8 of "1.8.0_392", 17 of "17.0.15"."""
    numbers = [int(n) for n in re.findall(r"\d+", text)[:2]]
    return numbers[1] if numbers[0] == 1 and len(numbers) > 1 else numbers[0]


def client_jars() -> tuple[str, ...]:
    """Return the jars of the Hadoop client, in class path order, configuration folders left out.

    Asked of `hadoop classpath` ($HADOOP_HOME/bin, else PATH), else found below $HADOOP_HOME.

    Raises
    ------
    HadoopNotFound
        There is no client; the message names the variables that were read.
    """
    return _client_jars(os.environ.get("HADOOP_HOME"), os.environ.get("PATH", ""))


@functools.cache
def _client_jars(home: str | None, path: str) -> tuple[str, ...]:
    program = shutil.which("hadoop", path=f"{home}/bin") if home else None
    program = program or shutil.which("hadoop", path=path)
    jars: list[str] = []
    if program is not None:
        jars = _expand(_ask_classpath(program).split(":"))
    if not _has_client(jars) and home:
        # A folder of jars without Hadoop's scripts: an unpacked distribution, or a flat lib/.
        folders = [*Path(home).glob("share/hadoop/*"), *Path(home).glob("share/hadoop/*/lib")]
        jars = _expand([f"{f}/*" for f in (*sorted(folders), Path(home) / "lib")])
    if not _has_client(jars):
        raise HadoopNotFound(_no_client(home, program))
    # Test jars hold settings of their own, which must not be found.
    kept = (j for j in jars if not j.endswith(("-tests.jar", "-sources.jar")))
    return tuple(dict.fromkeys(kept))


def _ask_classpath(program: str) -> str:
    try:
        asked = subprocess.run(
            [program, "classpath"],
            capture_output=True,
            text=True,
            timeout=_CLASSPATH_TIMEOUT_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as exc:
        words = str(getattr(exc, "stderr", "") or exc).strip()
        raise HadoopNotFound(f"'{program} classpath' failed: {words}") from exc
    return asked.stdout.strip()


def _expand(entries: list[str]) -> list[str]:
    """Entries as jars: `folder/*` is every jar in it; a plain folder holds settings, not code."""
    jars: list[str] = []
    for entry in entries:
        if entry.endswith("/*"):
            jars += sorted(str(p) for p in Path(entry[:-2]).glob("*.jar"))
        elif entry.endswith(".jar"):
            jars.append(entry)
    return jars


def _has_client(jars: list[str]) -> bool:
    names = {Path(j).name for j in jars}
    return any(
        n.startswith(("hadoop-mapreduce-client-jobclient", "hadoop-client-api")) for n in names
    )


def _no_client(home: str | None, program: str | None) -> str:
    if program:
        cause = f"'{program} classpath' names no MapReduce client jar"
    elif home:
        cause = f"HADOOP_HOME={home} has neither bin/hadoop nor jars in share/hadoop or lib"
    else:
        cause = "HADOOP_HOME is not set and there is no 'hadoop' on PATH"
    return (
        f"no Hadoop client: {cause}.\n"
        "  on a cluster's client machine: export HADOOP_HOME=<where Hadoop is installed>\n"
        '  for a cluster on this machine: harpy cluster up && eval "$(harpy cluster env)"\n'
        '  without Hadoop: launcher="local"'
    )
