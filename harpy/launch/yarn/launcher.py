"""YarnLauncher: a gang as a MapReduce job on YARN, through the submitting JVM.
Owns what the JVM's events mean; submitter.py owns the process, launch_errors.py the errors."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from harpy.config import Deadlines, HadoopConf
from harpy.errors import HarpyError, LaunchError, SubmissionRefused
from harpy.launch.base import Demand, GangSpec, Grant, JobState, Launcher, LaunchStatus
from harpy.launch.yarn.applications import (
    Application,
    application_logs,
    application_states,
    kill_application,
    list_applications,
)
from harpy.launch.yarn.diagnostics import attempt_failure, attempt_taken_back
from harpy.launch.yarn.job_settings import job_settings
from harpy.launch.yarn.launch_errors import jvm_died, launch_error, no_answer
from harpy.launch.yarn.limits import Limits
from harpy.launch.yarn.preflight import DEFAULT_QUEUE, grant_resources
from harpy.launch.yarn.submitter import SubmitterProcess, send_conf, wait_for

# Besides its own deadline for the first contact the JVM asks a few more questions.
_ANSWER_S = 20.0


__all__ = (
    "Application",
    "YarnLauncher",
    "application_logs",
    "application_states",
    "kill_application",
    "list_applications",
)


class YarnLauncher(Launcher):
    """Starts a gang on YARN. See base.Launcher for the order of calls.

    Parameters
    ----------
    conf
        The client's Hadoop configuration.
    deadlines
        `first_contact_s`, `submit_s`, `kill_s`, `silence_s` and `rendezvous_s` matter here.
    """

    kind = "yarn"

    def __init__(self, conf: HadoopConf, deadlines: Deadlines | None = None) -> None:
        self._conf = conf
        self._deadlines = deadlines or Deadlines.from_environment()
        self._changed = threading.Condition()
        self._status = LaunchStatus()
        self._answers: dict[str, Mapping[str, Any]] = {}
        self._spec: GangSpec | None = None
        self._jvm: SubmitterProcess | None = None
        self._opened_at = time.monotonic()

    # -- the interface, in the order it is called --

    def open(self) -> None:
        """Start the submitting JVM and ask for the cluster's limits; returns at once.

        Raises
        ------
        JavaNotFound, HadoopNotFound
            Something to start it with is missing.
        """
        self._opened_at = time.monotonic()
        self._jvm = SubmitterProcess(self._conf.directory, self._on_event)
        send_conf(self._jvm, self._conf, self._deadlines)
        self._jvm.send("warm")
        self._jvm.send("limits")

    def preflight(self, demand: Demand) -> Grant:
        """Grant `demand` resources; ClusterUnreachable or DemandRefused say why not."""
        self._answer("ready", self._deadlines.submit_s, "the submitting JVM did not start")
        seconds = self._deadlines.first_contact_s + _ANSWER_S
        facts = self._answer("limits", seconds, no_answer(self._conf))
        queue = self._conf.get("mapreduce.job.queuename", DEFAULT_QUEUE)
        return grant_resources(demand, Limits.from_event(facts), queue)

    def submit(self, spec: GangSpec) -> str:
        """Submit the job of `spec`; return its application id."""
        assert self._jvm is not None, "submit() before open()"
        self._spec = spec
        for key, value in job_settings(spec, self._conf, self._deadlines).items():
            self._jvm.send("conf", key, value)
        self._jvm.send("secret", spec.secret.hex())
        with self._changed:
            # From here on there may be an application, though its id is not known yet.
            self._set(state=JobState.SUBMITTED)
        self._jvm.send("submit")
        seconds = self._deadlines.submit_s
        what = f"no application id {seconds:g} s after submitting job {spec.job_id}"
        try:
            return str(self._answer("accepted", seconds, what)["application_id"])
        except SubmissionRefused:
            self._spec = None
            with self._changed:
                self._set(state=JobState.NEW)
            raise

    def status(self) -> LaunchStatus:
        """As `Launcher.status`."""
        with self._changed:
            return self._status

    def kill(self, reason: str) -> None:
        """Kill the job; returns when the resource manager says so, or after `kill_s`."""
        status = self.status()
        if self._jvm is None or self._spec is None or status.state.ended:
            return
        if "exit" in self._answers:
            self._kill_without_jvm(self._spec, status.application_id, reason)
            return
        # A submission that is still under way is killed as soon as it has been accepted.
        self._jvm.send("kill", reason)
        self.wait(self._deadlines.kill_s)

    def _kill_without_jvm(self, spec: GangSpec, application_id: str | None, reason: str) -> None:
        """Kill a job whose submitting JVM died, perhaps before it reported the application's id."""
        if application_id is None:
            listed = list_applications(self._conf, self._deadlines)
            application_id = next(
                (a.application_id for a in listed if a.carries(spec.job_id)), None
            )
        if application_id is not None:
            kill_application(self._conf, application_id, reason, self._deadlines)
            with self._changed:
                self._set(state=JobState.KILLED, application_id=application_id)

    def wait(self, timeout_s: float) -> LaunchStatus:
        """Wait for the end of the job; LaunchError when the submitting JVM died before it."""
        with self._changed:
            wait_for(self._changed, self._over, timeout_s)
            if "exit" in self._answers and not self._status.state.over:
                raise self._died()
            return self._status

    def close(self) -> None:
        """As `Launcher.close`."""
        if self._jvm is not None:
            self._jvm.close()
            self._jvm = None

    # -- events, on the reader thread --

    def _on_event(self, event: str, facts: Mapping[str, Any]) -> None:
        with self._changed:
            self._answers[event] = facts
            update = getattr(self, f"_on_{event}", None)
            if update is not None:
                update(facts)
            self._changed.notify_all()

    def _on_ready(self, _: Mapping[str, Any]) -> None:
        self._mark("jvm_ready")

    def _on_limits(self, _: Mapping[str, Any]) -> None:
        self._mark("limits_known")

    def _on_accepted(self, facts: Mapping[str, Any]) -> None:
        self._mark("submitted")
        self._set(
            state=JobState.SUBMITTED,
            application_id=facts["application_id"],
            tracking_url=facts["tracking_url"],
        )

    def _on_state(self, facts: Mapping[str, Any]) -> None:
        state = JobState(facts["state"])
        if state.ended:
            # "ended" follows once the last failures are fetched and the staging folder is removed.
            return
        if state is JobState.SUBMITTED:
            message = _waiting(facts)
        elif self._status.state is JobState.RUNNING:
            message = self._status.message
        else:
            self._mark("master_running")
            message = "the application master runs; workers start"
        self._set(state=state, tracking_url=facts["tracking_url"], message=message)

    def _on_not_submitted(self, _: Mapping[str, Any]) -> None:
        self._set(state=JobState.NEW)

    def _on_progress(self, facts: Mapping[str, Any]) -> None:
        started, of = facts["workers_started"], facts["workers"]
        if started:
            self._mark("first_worker")
        if started == of:
            self._mark("all_workers")
        self._set(
            progress=facts["progress"],
            workers_running=started,
            message=f"{started} of {of} workers running",
        )

    def _on_attempt_failed(self, facts: Mapping[str, Any]) -> None:
        self._set(failures=(*self._status.failures, attempt_failure(facts)))

    def _on_attempt_killed(self, facts: Mapping[str, Any]) -> None:
        failure = attempt_taken_back(facts)
        if failure is not None:
            self._set(failures=(*self._status.failures, failure))

    def _on_silent(self, facts: Mapping[str, Any]) -> None:
        self._set(message=f"the resource manager has not answered for {facts['seconds']} s")

    def _on_master_silent(self, facts: Mapping[str, Any]) -> None:
        self._set(master_silent_s=float(facts["seconds"]))

    def _on_ended(self, facts: Mapping[str, Any]) -> None:
        self._mark("ended")
        self._set(
            state=JobState(facts["state"]),
            diagnostics=facts["diagnostics"],
            progress=1.0 if facts["state"] == "succeeded" else self._status.progress,
        )

    def _set(self, **changes: Any) -> None:
        self._status = replace(self._status, **changes)

    def _mark(self, stage: str) -> None:
        if stage not in self._status.timings:
            passed = round(time.monotonic() - self._opened_at, 3)
            self._set(timings={**self._status.timings, stage: passed})

    # -- waiting for an answer --

    def _over(self) -> bool:
        return self._status.state.over or bool(self._answers.keys() & {"exit", "not_submitted"})

    def _answer(self, event: str, timeout_s: float, otherwise: str) -> Mapping[str, Any]:
        """The facts of `event`; the error the JVM sent instead, or LaunchError at the deadline."""
        with self._changed:
            got = wait_for(
                self._changed,
                lambda: any(e in self._answers for e in (event, "error", "exit")),
                timeout_s,
            )
            if event in self._answers:
                return self._answers[event]
            if "error" in self._answers:
                raise launch_error(self._answers.pop("error"), self._conf)
            if got:
                raise self._died()
        raise LaunchError(f"{otherwise} (waited {timeout_s:g} s)")

    def _died(self) -> HarpyError:
        return jvm_died(self._answers["exit"], self._status.application_id)


def _waiting(facts: Mapping[str, Any]) -> str:
    """What the job waits for; the scheduler's one sentence without its time and its arithmetic."""
    words = re.sub(r"^\[[^\]]*\]\s*", "", str(facts["diagnostics"] or "")).strip()
    reason = re.split(r"\s{2,}|;|\n|\. ", words, maxsplit=1)[0]
    queue = f"queue {facts['queue']} is at {facts['queue_percent']:.0f} %"
    return f"waiting in YARN ({queue})" + (f": {reason}" if reason else "")
