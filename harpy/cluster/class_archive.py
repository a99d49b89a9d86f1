"""An archive of Hadoop's classes, parsed and verified once per machine (the JDK's AppCDS).

Halves the processor time of every JVM that has it: daemons, application masters, map tasks,
clients. Made from the names in hadoop-classes.txt.gz, which scripts/record_classes.sh recorded.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import subprocess
from importlib import resources
from pathlib import Path

from harpy.cluster.jars import Distribution, Report, locked
from harpy.cluster.layout import HADOOP_VERSION, cache_dir, caches, open_directory
from harpy.launch.yarn.hadoop_client import class_archive_flags

NEEDED_MB = 300
DUMP_S = 300.0  # takes 20 s on two cores


def class_archive(hadoop: Distribution, java_home: Path, report: Report) -> Path | None:
    """Return the archive for this Java and these jars, making it first if need be.

    None, with a line to `report`, where it cannot be made: everything works without, slower.
    """
    name = f"hadoop-{HADOOP_VERSION}-{_key(hadoop, java_home)}.jsa"
    for cache in caches():
        if (cache / name).is_file():
            return cache / name
    cache = cache_dir()
    try:
        open_directory(cache)
        with locked(cache / f".{name}.lock", report, "waiting for another harpy's class archive"):
            if not (cache / name).is_file():
                _dump(hadoop, java_home, cache / name, report)
    except (OSError, subprocess.SubprocessError) as exc:
        report(f"no archive of Hadoop's classes, everything starts slower: {exc}")
        return None
    return cache / name


def options(archive: Path | None, *, quiet: bool = False) -> list[str]:
    """Return the JVM options that use the archive. The class path must begin with hadoop.jar."""
    if archive is None:
        return []
    # The JVM goes on without an archive that does not fit, and would say so on stdout.
    return [*class_archive_flags(archive), *(["-Xlog:cds=off"] if quiet else [])]


def _key(hadoop: Distribution, java_home: Path) -> str:
    """Name what an archive depends on: the JVM's build, and the jars by path and time."""
    release = java_home / "release"
    parts = [str(java_home), release.read_text() if release.is_file() else ""]
    parts += [str(hadoop.directory), str(hadoop.class_path.stat().st_mtime_ns)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]


def _dump(hadoop: Distribution, java_home: Path, target: Path, report: Report) -> None:
    free_mb = shutil.disk_usage(target.parent).free >> 20
    if free_mb < NEEDED_MB:
        raise OSError(f"{target.parent} needs {NEEDED_MB} MB, {free_mb} MB are free")
    report("archiving Hadoop's classes, so that its programs start fast (about 20 s, once)")
    names = target.with_name(f".{target.name}.{os.getpid()}.classes")
    half = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        packed = resources.files("harpy.cluster") / "hadoop-classes.txt.gz"
        recorded = gzip.decompress(packed.read_bytes())
        # The JDK's own list first: what every program loads, whatever Java this is.
        own = java_home / "lib" / "classlist"
        names.write_bytes((own.read_bytes() if own.is_file() else b"") + recorded)
        command = [str(java_home / "bin" / "java"), "-Xshare:dump", "-Xlog:disable"]
        command += ["-XX:+UseSerialGC", "-Xmx512m", f"-XX:SharedClassListFile={names}"]
        # All options of its use, so that a Java that does not know one is found out here.
        command += [*class_archive_flags(half), "-cp", str(hadoop.class_path)]
        subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=DUMP_S,
            check=True,
        )
        half.chmod(0o644)
        half.replace(target)
    finally:
        names.unlink(missing_ok=True)
        half.unlink(missing_ok=True)
