"""Fetches Hadoop's jars with Maven, once per machine user, and publishes them in one rename."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from harpy.cluster.layout import HADOOP_VERSION, cache_dir, caches, open_directory
from harpy.errors import ClusterError, DiskFull

Report = Callable[[str], None]

NEEDED_MB = 400  # Maven's own copy and ours, 102 MB each, while both are written
LISTING = "jars.txt"  # name and size of each jar, written before the rename that publishes them


@dataclass(frozen=True)
class Distribution:
    """Hadoop's jars on this machine."""

    directory: Path

    @property
    def lib(self) -> Path:
        """The folder of the jars."""
        return self.directory / "lib"

    @property
    def class_path(self) -> Path:
        """One jar that only names all others, in order: a class path short enough to read.

        An archive of classes (class_archive.py) belongs to one class path in one order; the
        order of `lib/*` is the file system's.
        """
        return self.directory / "hadoop.jar"


def distribution(report: Report) -> Distribution:
    """Return Hadoop's jars, fetching them first if need be.

    What root has fetched for the whole machine is used by everybody.

    Raises
    ------
    ClusterError
        Maven is missing, cannot reach its repository, or failed.
    DiskFull
        There is no room for 100 MB of jars.
    """
    name = f"hadoop-{HADOOP_VERSION}"
    for cache in caches():
        if _complete(cache / name):
            return Distribution(cache / name)
    cache = cache_dir()
    open_directory(cache)
    with locked(cache / f".{name}.lock", report, "waiting for another harpy that fetches Hadoop"):
        if not _complete(cache / name):  # another process may have fetched them meanwhile
            _fetch(cache, name, report)
    return Distribution(cache / name)


def _complete(directory: Path) -> bool:
    """Whether every jar that was published is still there in full (cleaners of caches exist)."""
    listing = directory / LISTING
    try:
        wanted = dict(line.rsplit(" ", 1) for line in listing.read_text().splitlines())
        return all((directory / jar).stat().st_size == int(n) for jar, n in wanted.items())
    except OSError:
        return False


@contextmanager
def locked(path: Path, report: Report, waiting: str) -> Iterator[None]:
    """Hold an exclusive lock on a file inside the block; `waiting` is reported if another holds
    it."""
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report(waiting)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _fetch(cache: Path, name: str, report: Report) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise ClusterError(
            f"fetching Hadoop {HADOOP_VERSION} needs Maven, and there is no 'mvn' on PATH.\n"
            "  Debian/Ubuntu: apt-get install maven"
        )
    free_mb = shutil.disk_usage(cache).free >> 20
    if free_mb < NEEDED_MB:
        raise DiskFull(
            f"fetching Hadoop's jars into {cache} needs {NEEDED_MB} MB, {free_mb} MB are free.\n"
            "  make room, or set HARPY_CACHE to a directory on another disk",
            path=str(cache),
        )
    report(f"fetching Hadoop {HADOOP_VERSION} from Maven Central into {cache} (102 MB, once)")
    # Beside its final place: only a rename within one file system is atomic.
    work = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=cache))
    try:
        pom = work / "pom.xml"
        pom.write_bytes((resources.files("harpy.cluster") / "hadoop-pom.xml").read_bytes())
        _run_maven(maven, pom, work / "lib", report)
        _publish(work, cache / name)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _run_maven(maven: str, pom: Path, lib: Path, report: Report) -> None:
    command = [maven, "-B", "-f", str(pom), "dependency:copy-dependencies"]
    command += [f"-DoutputDirectory={lib}", "-DincludeScope=runtime"]
    downloaded = 0
    tail: list[str] = []
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                if "Downloaded from" in line and ".jar" in line:
                    downloaded += 1
                    if downloaded % 50 == 0:
                        report(f"  {downloaded} jars so far")
                tail = [*tail[-40:], line.rstrip()]
        except BaseException:
            process.terminate()
            raise
    if process.returncode != 0:
        causes = [line for line in tail if line.startswith("[ERROR]")] or tail
        said = "\n".join(f"  {line}" for line in causes[:6])
        raise ClusterError(
            f"Maven could not fetch Hadoop {HADOOP_VERSION} (exit {process.returncode}):\n{said}\n"
            "  likely: no connection to Maven Central; behind a proxy or with a mirror, "
            "set it in ~/.m2/settings.xml"
        )


def _publish(work: Path, final: Path) -> None:
    built = Distribution(work)
    jars = sorted(built.lib.glob("*.jar"))
    _write_class_path(built.class_path, [f"lib/{jar.name}" for jar in jars])
    files = [*jars, built.class_path]
    lines = [f"{file.relative_to(work)} {file.stat().st_size}\n" for file in files]
    (work / LISTING).write_text("".join(lines))
    # Containers of other users read them, whatever this user's umask.
    for directory in (work, built.lib):
        directory.chmod(0o755)
    for file in [*files, work / LISTING]:
        file.chmod(0o644)
    if final.exists():
        shutil.rmtree(final)
    work.rename(final)


def _write_class_path(path: Path, entries: list[str]) -> None:
    """Write a jar whose manifest names others, relative to it."""
    line = "Class-Path: " + " ".join(entries)
    # A manifest's line has at most 72 bytes; a blank continues it on the next.
    parts = [line[:70], *(f" {line[i : i + 69]}" for i in range(70, len(line), 69))]
    manifest = "\r\n".join(["Manifest-Version: 1.0", *parts, "", ""])
    with zipfile.ZipFile(path, "w") as jar:
        jar.writestr("META-INF/MANIFEST.MF", manifest)
