"""harpy's applications as any shell may ask for them: list, states, kill, logs. Nothing here needs
the driver that started them; each call is one short-lived JVM."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harpy.config import Deadlines, HadoopConf
from harpy.errors import ClusterUnreachable, JobNotFound
from harpy.launch.base import JobState
from harpy.launch.yarn.hadoop_client import find_java
from harpy.launch.yarn.launch_errors import jvm_died, launch_error, no_answer
from harpy.launch.yarn.submitter import (
    SubmitterProcess,
    class_path,
    module_flags,
    send_conf,
    wait_for,
)

_LOGS_MAIN = "org.apache.hadoop.yarn.client.cli.LogsCLI"
_LOGS_TIMEOUT_S = 120.0


@dataclass(frozen=True)
class Application:
    """What the resource manager remembers of one application."""

    application_id: str
    name: str
    user: str
    queue: str
    tags: tuple[str, ...]  # in lower case; harpy's own is the id of its job
    state: JobState
    tracking_url: str
    progress: float
    started_s: float  # seconds since 1970
    finished_s: float  # 0 while it runs
    diagnostics: str

    def carries(self, job_id: str) -> bool:
        """Whether it is the job of this id, whatever name it was given."""
        return job_id.lower() in self.tags

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> Application:
        """Read what the submitting JVM tells of an application."""
        return cls(
            application_id=facts["application_id"],
            name=facts["name"],
            user=facts["user"],
            queue=facts["queue"],
            tags=tuple(facts["tags"]),
            state=JobState(facts["state"]),
            tracking_url=facts["tracking_url"] or "",
            progress=facts["progress"],
            started_s=facts["started_ms"] / 1000,
            finished_s=facts["finished_ms"] / 1000,
            diagnostics=facts["diagnostics"] or "",
        )


def list_applications(conf: HadoopConf, deadlines: Deadlines | None = None) -> list[Application]:
    """Return this user's harpy applications that the ResourceManager remembers, newest first."""
    facts = _ask(conf, deadlines or Deadlines.from_environment(), "applications", "list")
    found = [Application.from_facts(f) for f in facts["applications"]]
    return sorted(found, key=lambda a: a.started_s, reverse=True)


def application_states(
    conf: HadoopConf, application_ids: Sequence[str], deadlines: Deadlines | None = None
) -> dict[str, Application]:
    """Return what the ResourceManager knows of these applications, by id; those it does not know
    are not among them."""
    chosen = deadlines or Deadlines.from_environment()
    facts = _ask(conf, chosen, "applications", "states", *application_ids)
    return {f["application_id"]: Application.from_facts(f) for f in facts["applications"]}


def kill_application(
    conf: HadoopConf,
    application_id: str,
    reason: str = "killed with harpy kill",
    deadlines: Deadlines | None = None,
) -> None:
    """Kill one application and remove its staging folder; no error when it has ended already."""
    chosen = deadlines or Deadlines.from_environment()
    _ask(conf, chosen, "killed", "kill-application", application_id, reason)


def _ask(conf: HadoopConf, deadlines: Deadlines, event: str, *words: str) -> Mapping[str, Any]:
    """Send one command to a new JVM; return the facts of the event that answers it."""
    changed = threading.Condition()
    answers: dict[str, Mapping[str, Any]] = {}

    def on_event(name: str, facts: Mapping[str, Any]) -> None:
        with changed:
            answers[name] = facts
            changed.notify_all()

    jvm = SubmitterProcess(conf.directory, on_event)
    try:
        send_conf(jvm, conf, deadlines)
        jvm.send(*words)
        seconds = deadlines.first_contact_s + deadlines.kill_s
        with changed:
            wait_for(changed, lambda: bool(answers.keys() & {event, "error", "exit"}), seconds)
            if event in answers:
                return answers[event]
            if "error" in answers:
                raise launch_error(answers["error"], conf)
            if "exit" in answers:
                raise jvm_died(answers["exit"], None)
        raise ClusterUnreachable(f"{no_answer(conf)} (waited {seconds:g} s)")
    finally:
        jvm.close()


def _overrides(conf: HadoopConf) -> dict[str, str]:
    """The settings that differ from the files: a command line cannot hold all of them."""
    files = HadoopConf.load(conf.directory) if conf.directory else HadoopConf()
    return {key: value for key, value in conf.items() if files.get(key) != value}


def application_logs(conf: HadoopConf, application_id: str) -> str:
    """Return the logs of all containers, as Hadoop's own client collects them.

    From the node managers while the job runs, then from where log aggregation put them (a few
    seconds after the end).
    """
    java = find_java()
    flags = ["-Xmx256m", "-XX:TieredStopAtLevel=1", "-Xshare:auto", *module_flags(java)]
    overrides = [f"-D{key}={value}" for key, value in _overrides(conf).items()]
    command = [str(java.program), *flags, "-Dhadoop.root.logger=ERROR,console"]
    command += ["-cp", class_path(conf.directory), _LOGS_MAIN, *overrides]
    command += ["-applicationId", application_id]
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        process_group=0,
    )
    try:
        out, err = process.communicate(timeout=_LOGS_TIMEOUT_S)
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise
    if process.returncode != 0 and not out:
        words = [line for line in err.splitlines() if line.strip() and "WARN" not in line]
        raise JobNotFound(
            f"no logs of {application_id}: {' '.join(words[-3:])}\n"
            "  Logs come a few seconds after the end, and only where yarn.log-aggregation-enable "
            "is true."
        )
    return out
