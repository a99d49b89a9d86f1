"""The submitting JVM as a process: starts it, sends commands, receives events, ends it.
What they mean is launcher.py's; the other end is java/org/harpy/launch/Submitter.java."""

from __future__ import annotations

import collections
import contextlib
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

from harpy.config import Deadlines, HadoopConf
from harpy.errors import ConfigError
from harpy.launch.yarn.hadoop_client import Java, class_archive_flags, client_jars, find_java
from harpy.launch.yarn.job_settings import CLIENT_SETTINGS

JAR = Path(__file__).with_name("harpy-launcher.jar")
_MAIN = "org.harpy.launch.Submitter"
_STDERR_LINES = 200
_STDERR_LINE_CHARACTERS = 2000
_EXIT_S = 5.0
_FLAGS = ("-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto")

Handler = Callable[[str, Mapping[str, Any]], None]


class SubmitterProcess:
    """One submitting JVM. `handler` is called from the reader thread with (event, facts), and once
    with ("exit", {"code", "stderr"}) when the JVM has ended."""

    def __init__(self, conf_dir: Path | None, handler: Handler) -> None:
        self._handler = handler
        self._stderr: collections.deque[str] = collections.deque(maxlen=_STDERR_LINES)
        # A group of its own: the driver handles a terminal's Ctrl-C, not the JVM.
        self._process = subprocess.Popen(
            command(find_java(), conf_dir),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            process_group=0,
        )
        self._errors = self._thread(self._read_stderr, "harpy-submitter-stderr")
        self._events = self._thread(self._read_events, "harpy-submitter-events")

    def _thread(self, body: Callable[[], None], name: str) -> threading.Thread:
        thread = threading.Thread(target=body, name=name, daemon=True)
        thread.start()
        return thread

    def send(self, *words: str) -> None:
        """Send one command. A JVM that is gone is reported by its "exit" event, not here."""
        line = " ".join(quote(word, safe="") for word in words) + "\n"
        with contextlib.suppress(BrokenPipeError, ValueError):
            self._stdin.write(line.encode())
            self._stdin.flush()

    @property
    def _stdin(self) -> IO[bytes]:
        assert self._process.stdin is not None
        return self._process.stdin

    @property
    def pid(self) -> int:
        """Of the JVM."""
        return self._process.pid

    def close(self) -> None:
        """End the JVM; a submitted job goes on. Returns when process and threads are gone."""
        with contextlib.suppress(BrokenPipeError):
            self._stdin.close()
        try:
            self._process.wait(_EXIT_S)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._events.join(_EXIT_S)
        self._errors.join(_EXIT_S)
        for pipe in (self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()

    def _read_stderr(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self._keep(line)

    def _keep(self, line: bytes) -> None:
        self._stderr.append(line[:_STDERR_LINE_CHARACTERS].decode(errors="replace").rstrip())

    def _read_events(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if not line.startswith(b'{"event":'):
                # The JVM itself writes warnings to stdout, before harpy's code runs.
                self._keep(line)
                continue
            message = json.loads(line)
            self._handler(message["event"], message["facts"])
        code = self._process.wait()
        self._errors.join(_EXIT_S)
        self._handler("exit", {"code": code, "stderr": list(self._stderr)})


def command(java: Java, conf_dir: Path | None) -> list[str]:
    """The command line of the submitting JVM. It carries no secret: everybody can read it."""
    if not JAR.is_file():
        raise ConfigError(
            f"the launcher jar {JAR} is missing: build it with 'pip install -e .' (needs a JDK)"
        )
    flags = [*_FLAGS, *module_flags(java), *archive_flags(java), *log_flags()]
    return [str(java.program), *flags, "-cp", class_path(conf_dir), _MAIN]


def class_path(conf_dir: Path | None) -> str:
    """The client's configuration, the launcher and the Hadoop client.

    An archive of Hadoop's classes fits only where the jars it was made from come first.
    """
    folders = [str(conf_dir)] if conf_dir is not None else []
    if _class_archive():
        return ":".join([*client_jars(), str(JAR), *folders])
    return ":".join([*folders, str(JAR), *client_jars()])


def archive_flags(java: Java) -> list[str]:
    """Use the archive that `harpy cluster env` offers; a JVM it does not fit goes on without."""
    archive = _class_archive()
    if archive is None or java.version < 17:
        return []
    return [*class_archive_flags(archive), "-Xlog:cds=off"]


def _class_archive() -> str | None:
    return os.environ.get("HARPY_CLASS_ARCHIVE") or None


def send_conf(jvm: SubmitterProcess, conf: HadoopConf, deadlines: Deadlines) -> None:
    """Tell the JVM the client's configuration: its files, which it reads too, and -D overrides."""
    jvm.send("conf", "harpy.first-contact-ms", str(round(deadlines.first_contact_s * 1000)))
    for key, value in {**CLIENT_SETTINGS, **conf}.items():
        jvm.send("conf", key, value)


def module_flags(java: Java) -> list[str]:
    """What Hadoop's own scripts pass to a Java with modules."""
    if java.version < 9:
        return []
    flags = ["--add-opens=java.base/java.lang=ALL-UNNAMED"]
    if java.version >= 17:
        flags += ["--add-exports=java.base/sun.net.dns=ALL-UNNAMED"]
        flags += ["--add-exports=java.base/sun.net.util=ALL-UNNAMED"]
    return flags


def log_flags() -> list[str]:
    """Hadoop's log4j.properties obeys these; only warnings, and to stderr."""
    return ["-Dhadoop.root.logger=WARN,console", "-Dyarn.root.logger=WARN,console"]


def wait_for(condition: threading.Condition, ready: Callable[[], bool], timeout_s: float) -> bool:
    """Wait under `condition` until ready() or a monotonic deadline; return whether it was ready."""
    deadline = time.monotonic() + timeout_s
    while not ready():
        left = deadline - time.monotonic()
        if left <= 0:
            return False
        condition.wait(left)
    return True
