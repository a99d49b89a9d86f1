"""Finds a Java that can run the cluster's daemons."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

from harpy.errors import JavaNotFound

MINIMUM = 17  # Hadoop 3.5's servers are compiled for it
INSTALL = (
    "  Debian/Ubuntu: apt-get install openjdk-17-jdk-headless\n"
    "  elsewhere: install a JDK 17 or later and set JAVA_HOME to it"
)


def find_java() -> Path:
    """Return the home of a Java of at least version 17: JAVA_HOME's, else the one on PATH.

    Raises
    ------
    JavaNotFound
        There is none, or it is older; says which was found and what to install.
    """
    given = os.environ.get("JAVA_HOME")
    if given:
        home = Path(given)
        if not os.access(home / "bin" / "java", os.X_OK):
            raise JavaNotFound(f"JAVA_HOME={given} holds no bin/java.\n{INSTALL}")
    else:
        found = shutil.which("java")
        if found is None:
            raise JavaNotFound(
                f"Hadoop needs Java {MINIMUM} or later; no 'java' on PATH, JAVA_HOME is not set.\n"
                f"{INSTALL}"
            )
        home = Path(found).resolve().parent.parent
    version = java_version(home)
    if version < MINIMUM:
        origin = "JAVA_HOME" if given else "PATH"
        raise JavaNotFound(
            f"Hadoop needs Java {MINIMUM} or later; {home} (from {origin}) is Java {version}.\n"
            f"{INSTALL}"
        )
    return home


def java_version(home: Path) -> int:
    """Return the feature version (8, 11, 17, …) of the Java in `home`."""
    release = home / "release"
    text = release.read_text(errors="replace") if release.is_file() else ""
    match = re.search(r'^JAVA_VERSION="([^"]+)"', text, re.MULTILINE)
    if match is None:
        match = re.search(r'version "([^"]+)"', _ask(home / "bin" / "java"))
    if match is None:
        raise JavaNotFound(f"cannot tell the version of {home}/bin/java.\n{INSTALL}")
    numbers = re.findall(r"\d+", match.group(1))
    # Until Java 8 the feature was the second number: 1.8.0_402.
    return int(numbers[1] if numbers[0] == "1" and len(numbers) > 1 else numbers[0])


def _ask(java: Path) -> str:
    try:
        done = subprocess.run(
            [str(java), "-version"], capture_output=True, text=True, timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise JavaNotFound(f"{java} does not run: {exc}.\n{INSTALL}") from exc
    return done.stderr + done.stdout
