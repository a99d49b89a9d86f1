"""The command line: results on stdout, messages on stderr, one exit code per family of errors.

Sub-commands are imported when they are called, so that `harpy --help` is quick.
"""

from __future__ import annotations

import difflib
import json
import logging
import signal
import sys
import time
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import Any, ClassVar

import click

from harpy import __version__
from harpy.cli.options import hadoop_pairs, load_npy, parameters, session_options
from harpy.errors import HarpyError

INTERRUPTED = 130  # 128 + SIGINT, as shells report it


class _Group(click.Group):
    """A group whose members may live in rooms of their own, imported when named."""

    elsewhere: ClassVar[dict[str, str]] = {
        "cluster": "harpy.cluster.cli:cluster",
        "demo": "harpy.demo.cli:demo",
        "kmeans": "harpy.cli.kmeans:kmeans",
    }

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *self.elsewhere})

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name in self.elsewhere:
            module, _, attribute = self.elsewhere[name].partition(":")
            command: click.Command = getattr(import_module(module), attribute)
            return command
        return super().get_command(ctx, name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as exc:
            # click itself suggests registered commands only.
            close = difflib.get_close_matches(args[0], self.elsewhere, n=1)
            if not close:
                raise
            raise click.UsageError(
                f"No such command {args[0]!r}. Did you mean {close[0]!r}?", ctx
            ) from exc


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="harpy")
@click.option("-v", "--verbose", is_flag=True, help="Log every event to stderr.")
def cli(verbose: bool) -> None:
    """Map-collective Python on the Hadoop cluster you already have."""
    level = logging.INFO if verbose else logging.WARNING
    logging.basicConfig(level=level, format="%(levelname)s %(name)s %(message)s")


@cli.command()
@click.argument("program")
@session_options
@click.option("--name", default="harpy", show_default=True, help="Shown by the cluster.")
@click.option(
    "--param",
    "params",
    multiple=True,
    metavar="NAME=JSON",
    callback=parameters,
    help="A parameter of the program.",
)
@click.option(
    "--data",
    multiple=True,
    metavar="NAME=FILE.npy",
    callback=hadoop_pairs,
    help="Rows split over the workers.",
)
@click.option("--output", type=click.Path(path_type=Path), help="Directory for the results.")
@click.option("--timeout", "timeout_s", type=click.FloatRange(0, min_open=True), help="Seconds.")
def run(
    program: str,
    params: dict[str, Any],
    data: dict[str, str],
    output: Path | None,
    timeout_s: float | None,
    **options: Any,
) -> None:
    """Run PROGRAM ('file.py', 'file.py:function' or 'package.module:function') on a gang.

    Prints what it returned on rank 0 as JSON.
    """
    from harpy.session.saved_results import check_output, save_results
    from harpy.session.session import Session

    if output is not None:
        check_output(output)
    arrays = {name: load_npy(Path(path)) for name, path in data.items()}
    with Session(single_run=True, **options) as session:
        result = session.run(program, params, arrays, timeout_s=timeout_s)
    if output is not None:
        for path in save_results(output, result.value, dict(result.arrays)):
            click.echo(f"wrote {path}", err=True)
    click.echo(json.dumps(result.value, default=_plain, indent=1))


def _plain(value: Any) -> Any:
    return value.tolist()  # ndarrays and NumPy scalars: all that JSON does not know already


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON array on stdout.")
def jobs(as_json: bool) -> None:
    """List the jobs started from this machine that still have something somewhere."""
    from harpy.session import job_control

    found = [job.to_json() for job in job_control.summaries()]
    if as_json:
        click.echo(json.dumps(found, indent=1))
        return
    if not found:
        click.echo("no jobs", err=True)
    for job in found:
        age = time.time() - job["created"]
        click.echo(
            f"{job['job']}  {job['state']}  {age:.0f} s old  "
            f"{job['application'] or job['launcher']}  {job['directory']}"
        )


@cli.command()
@click.argument("job")
def logs(job: str) -> None:
    """Print the reports and container logs of JOB (an id, its beginning or an application id)."""
    from harpy.session import job_control

    click.echo(job_control.logs(job))


@cli.command()
@click.argument("job")
def kill(job: str) -> None:
    """End JOB and remove its directory."""
    from harpy.session import job_control

    click.echo(f"killed {job_control.kill(job)}", err=True)


@cli.command()
@click.argument("job")
@click.option("--output", type=click.Path(path_type=Path), help="Directory; default ./JOB.")
@click.option("--keep", is_flag=True, help="Leave the job directory.")
@click.option("--timeout", "timeout_s", default=600.0, show_default=True, help="Seconds to wait.")
def fetch(job: str, output: Path | None, keep: bool, timeout_s: float) -> None:
    """Download the results of JOB, whose driver is gone, then remove its directory."""
    from harpy.session import job_control, registry

    record = registry.find(job)
    target = output or Path(record.job_id)
    for path in job_control.fetch(record.job_id, target, keep=keep, timeout_s=timeout_s):
        click.echo(path)


@cli.command()
@click.argument("job")
@click.option("--progress/--no-progress", default=None, help="On stderr.")
@click.option("--timeout", "timeout_s", type=click.FloatRange(0, min_open=True), help="Seconds.")
@click.option("--force", is_flag=True, help="Also if nobody can say whether it runs.")
def resume(job: str, progress: bool | None, timeout_s: float | None, force: bool) -> None:
    """Go on with JOB, whose driver and workers are gone, from its last checkpoint."""
    from harpy.session import job_control

    done = job_control.resume(job, progress=progress, timeout_s=timeout_s, force=force)
    click.echo(f"{done} is done; next: harpy fetch {done}", err=True)


@cli.command()
@click.argument("jobs", nargs=-1, metavar="[JOB]...")
@click.option("--older-than", default=0.0, show_default=True, metavar="HOURS")
@click.option("--kept", is_flag=True, help="Also directories left on purpose (keep).")
@click.option("--force", is_flag=True, help="Also jobs of which nobody can say whether they run.")
def clean(jobs: tuple[str, ...], older_than: float, kept: bool, force: bool) -> None:
    """Remove what ended jobs and dead drivers left behind, of all jobs or of these.

    Running jobs are left alone, and those that their cluster does not know or not answer for.
    """
    from harpy.session.cleaning import clean as clean_jobs

    found = clean_jobs(jobs, older_than_s=3600 * older_than, kept=kept, force=force)
    for removed in found:
        click.echo(f"removed {removed.job_id}")
        if removed.lost:
            click.echo(f"  lost: {removed.lost}", err=True)


def _terminate(signum: int, frame: FrameType | None) -> None:
    # The same clean end as Ctrl-C, for a shell's `kill` and a scheduler's stop.
    raise KeyboardInterrupt


def main() -> None:
    """Entry point of `harpy`: maps every expected error to one message and an exit code."""
    signal.signal(signal.SIGTERM, _terminate)
    try:
        code = cli.main(standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except click.exceptions.Exit as exc:
        sys.exit(exc.exit_code)
    except click.ClickException as exc:
        exc.show()
        sys.exit(exc.exit_code)
    except (KeyboardInterrupt, click.Abort):
        click.echo("harpy: interrupted", err=True)
        sys.exit(INTERRUPTED)
    except HarpyError as exc:
        click.echo(f"harpy: {exc}", err=True)
        for note in getattr(exc, "__notes__", ()):
            click.echo(f"  {note}", err=True)
        sys.exit(exc.exit_code)
