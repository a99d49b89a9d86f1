"""The job that carries a gang: from what was asked for to an application of the cluster, and to
another one that replaces it. Owns the launcher; has nothing to do with runs.
"""

from __future__ import annotations

import logging
import secrets
from pathlib import Path

from harpy.config import Deadlines, HadoopConf, load_hadoop_conf, max_losses
from harpy.errors import JobStateUnknown
from harpy.launch.base import Demand, FileRange, GangSpec, Grant, Launcher
from harpy.session.job_files import JobFiles
from harpy.session.options import SessionOptions
from harpy.session.progress import Progress, Timings

logger = logging.getLogger("harpy")

Shares = tuple[tuple[FileRange, ...], ...]  # of files, by rank


class GangJob:
    """See driver.GangDriver, which opens and at last closes the launcher.

    Attributes
    ----------
    launcher : Launcher
        Of the application that currently carries the gang.
    conf : HadoopConf
        For the local launcher, only what the session was given, without files.
    secret : bytes
        Of this job and its successors.
    max_losses : int
    grant : Grant or None
        What preflight granted.
    """

    def __init__(
        self,
        options: SessionOptions,
        deadlines: Deadlines,
        progress: Progress,
        timings: Timings,
        conf_dir: Path | None = None,
    ) -> None:
        self._options, self._deadlines = options, deadlines
        self._progress, self._timings = progress, timings
        self._conf_dir = conf_dir
        self.max_losses = max_losses()
        self.secret = secrets.token_bytes(32)
        self.conf = HadoopConf()
        self.launcher = self._make_launcher()
        self.grant: Grant | None = None

    def launch(self, files: JobFiles, shares: Shares = (), first_attempt: int = 0) -> None:
        """Check the demand and start the workers on the job directory.

        Parameters
        ----------
        shares : tuple
            The files that each rank reads, as far as they are known: ranks are placed near them.
        first_attempt : int
            Number of the workers' first attempts.

        Raises
        ------
        DemandRefused
            With numbers.
        LaunchError
            The workers could not be started.
        """
        self.grant = self._preflight()
        self._timings.mark("preflight")
        files.finish_writing()  # from here on the job needs only its data from this process
        files.submission_begins()
        application_id = self._submit(self.grant, files, shares, first_attempt)
        files.submitted(application_id)
        self._timings.mark("submitted")

    def launch_again(self, files: JobFiles) -> None:
        """Start workers anew on the job directory as it is. Older workers that still run are
        fenced by their lower attempts."""
        self.launch(files, (), files.directory.begin_generation())

    def _preflight(self) -> Grant:
        options = self._options
        grant = self.launcher.preflight(
            Demand(options.n_node, options.n_thread, options.n_mem, options.queue, options.wishes)
        )
        for note in (*grant.notes, *grant.warnings):
            self._progress.note(note)
            logger.info(note)
        return grant

    def _submit(
        self, grant: Grant, files: JobFiles, shares: Shares, first_attempt: int
    ) -> str | None:
        """The application's id, where there is one."""
        options, job_id = self._options, files.job_id
        application_id = self.launcher.submit(
            GangSpec(
                job_id=job_id,
                job_url=files.directory.url,
                grant=grant,
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

    def end_application(self, why: str) -> None:
        """Kill an application that cannot go on.

        Raises
        ------
        JobStateUnknown
            It did not end: another beside it would be a second gang on the same directory.
        """
        self._progress.note(f"{why}: killing this application and starting another")
        self.launcher.kill(why)
        status = self.launcher.status()
        if not status.state.ended:
            raise JobStateUnknown(
                f"{why}, and {status.application_id} did not end within "
                f"{self._deadlines.kill_s:g} s (HARPY_KILL_S): no other is started in its place"
            )
        self.launcher.close()

    def renew(self) -> None:
        """Make a new launcher, for an application that replaces one that has ended."""
        self.launcher = self._make_launcher()
        self.launcher.open()

    def _make_launcher(self) -> Launcher:
        if self._options.launcher == "local":
            from harpy.launch.local.launcher import LocalLauncher

            self.conf = HadoopConf(self._options.hadoop_conf)
            return LocalLauncher(self._deadlines)
        from harpy.launch.yarn.launcher import YarnLauncher

        self.conf = load_hadoop_conf(self._options.hadoop_conf, self._conf_dir)
        return YarnLauncher(self.conf, self._deadlines)
