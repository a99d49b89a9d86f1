"""The job that carries a gang: from what was asked for to an application of the cluster, and to
another one in its place when it cannot get on. Owns the launcher; knows nothing of runs.
"""

from __future__ import annotations

import logging
import secrets
import time
from pathlib import Path

from harpy.config import Deadlines, HadoopConf, load_hadoop_conf, max_losses
from harpy.errors import JobStateUnknown
from harpy.launch.base import Demand, FileRange, GangSpec, Grant, Launcher
from harpy.session.allocation import GiveBack
from harpy.session.options import SessionOptions
from harpy.session.progress import Progress

logger = logging.getLogger("harpy")

Shares = tuple[tuple[FileRange, ...], ...]  # of files, by rank


class GangJob:
    """See driver.GangDriver, which calls `open`, `launch`, and at last `launcher.close`.

    Attributes
    ----------
    launcher : Launcher
        Of the application that carries the gang now.
    conf : HadoopConf
        Empty for the local launcher.
    secret : bytes
        Of this job and its successors.
    max_losses : int
    grant : Grant or None
        What preflight settled on.
    """

    def __init__(
        self,
        options: SessionOptions,
        deadlines: Deadlines,
        progress: Progress,
        conf_dir: Path | None,
    ) -> None:
        self._options, self._deadlines, self._progress = options, deadlines, progress
        self._conf_dir = conf_dir
        self._give_back = GiveBack(options.n_node, deadlines.give_back_s)
        self.max_losses = max_losses()
        self.secret = secrets.token_bytes(32)
        self.conf = HadoopConf()
        self.launcher = self._make_launcher()
        self.grant: Grant | None = None

    def preflight(self) -> None:
        """Settle what is asked for; DemandRefused with numbers."""
        options = self._options
        self.grant = self.launcher.preflight(
            Demand(options.n_node, options.n_thread, options.n_mem, options.queue, options.wishes)
        )
        for note in (*self.grant.notes, *self.grant.warnings):
            self._progress.note(note)
            logger.info(note)

    def submit(
        self, job_id: str, job_url: str, shares: Shares = (), first_attempt: int = 0
    ) -> str | None:
        """Start the workers; the application's id, where there is one.

        Parameters
        ----------
        shares : tuple
            The files each rank reads, where they are known: it is placed near them.
        first_attempt : int
            Number of the workers' first attempts.
        """
        assert self.grant is not None
        options = self._options
        application_id = self.launcher.submit(
            GangSpec(
                job_id=job_id,
                job_url=job_url,
                grant=self.grant,
                secret=self.secret,
                python=options.python,
                name=job_id,
                max_attempts=1 + self.max_losses,
                first_attempt=first_attempt,
                hadoop_conf=options.hadoop_conf,
                shares=shares,
            )
        )
        status = self.launcher.status()
        where = f" as {application_id}" if application_id else ""
        url = f", {status.tracking_url}" if status.tracking_url else ""
        self._progress.note(f"submitted {job_id}{where}{url}")
        return application_id

    def why_stuck(self, waits_for_replacement: bool) -> str | None:
        """Why the application cannot get on by itself, and another should take its place; None if
        it can."""
        status = self.launcher.status()
        if status.state.over:
            return None
        silent_s = status.master_silent_s
        if waits_for_replacement and silent_s > self._deadlines.master_s:
            # Its host is gone, and with it whoever could replace workers. YARN would notice after
            # ten minutes by default.
            return f"the application master has not answered for {silent_s:.0f} s (HARPY_MASTER_S)"
        if self._give_back.due(status.workers_running, time.monotonic()):
            return (
                f"{status.workers_running} of {self._options.n_node} workers run while the others "
                "wait for room that another job may hold (HARPY_GIVE_BACK_S)"
            )
        return None

    def end_stuck(self, why: str) -> None:
        """Kill the application and get ready for another."""
        self._progress.note(f"{why}: killing this application and starting another")
        partly = self.launcher.status().workers_running < self._options.n_node
        self.launcher.kill(why)
        status = self.launcher.status()
        if not status.state.ended:
            # Another beside it would be a second gang on the same directory.
            raise JobStateUnknown(
                f"{why}, and {status.application_id} did not end within "
                f"{self._deadlines.kill_s:g} s (HARPY_KILL_S): no other is started in its place"
            )
        self.launcher.close()
        if partly:
            time.sleep(self._give_back.pause_s())
        self.launcher = self._make_launcher()
        self.launcher.open()

    def _make_launcher(self) -> Launcher:
        if self._options.launcher == "local":
            from harpy.launch.local.launcher import LocalLauncher

            return LocalLauncher(self._deadlines)
        from harpy.launch.yarn.launcher import YarnLauncher

        self.conf = load_hadoop_conf(self._options.hadoop_conf, self._conf_dir)
        return YarnLauncher(self.conf, self._deadlines)
