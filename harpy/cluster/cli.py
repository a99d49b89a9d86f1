"""`harpy cluster …`: the embedded cluster from a shell."""

from __future__ import annotations

import json
import shlex
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from types import FrameType

import click

from harpy.cli.options import hadoop_pairs
from harpy.cluster import daemons
from harpy.cluster.embedded import EmbeddedCluster, Status
from harpy.cluster.spec import Shape, State
from harpy.errors import HarpyError

_home = click.option(
    "--home",
    type=click.Path(path_type=Path, file_okay=False),
    help="State directory. Default: HARPY_CLUSTER_HOME, or one per user.",
)


@click.group()
def cluster() -> None:
    """A real HDFS and YARN on this machine, for trying and testing."""


@cluster.command()
@click.option("--nodes", type=int, help="Node managers.  [default: 1]")
@click.option("--memory-mb", type=int, help="MB booked per node manager.  [default: 12288]")
@click.option("--vcores", type=int, help="vcores booked per node manager.  [default: 16]")
@click.option("--stock", is_flag=True, help="Hadoop's own limits: 8192 MB, vmem check, …")
@click.option("--user", "users", multiple=True, metavar="NAME", help="Also make NAME's HDFS home.")
@click.option("--bind", metavar="ADDR", help="Address of all daemons.  [default: 127.0.0.1]")
@click.option(
    "-D",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    callback=hadoop_pairs,
    help="A setting of Hadoop's, on top of the profile's; may be repeated.",
)
@_home
def up(
    nodes: int | None,
    memory_mb: int | None,
    vcores: int | None,
    stock: bool,
    users: tuple[str, ...],
    bind: str | None,
    settings: dict[str, str],
    home: Path | None,
) -> None:
    """Start it, or do nothing if it runs."""
    asked = {
        "nodes": nodes,
        "memory_mb": memory_mb,
        "vcores": vcores,
        "bind": bind,
        "settings": settings or None,
    }
    anything = stock or any(value is not None for value in asked.values())
    shape = Shape.of(stock=stock, **asked) if anything else None
    begun = time.monotonic()
    with _signals_unwind():
        state = EmbeddedCluster(home, _say).up(shape, users)
    _say(f"up after {time.monotonic() - begun:.1f} s")
    click.echo(_summary(state))


@cluster.command()
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@_home
def status(home: Path | None, as_json: bool) -> None:
    """Say whether it runs; exit code 0 only if all of it does."""
    found = EmbeddedCluster(home).status()
    if as_json:
        click.echo(json.dumps(_as_json(found), indent=2))
    elif found.state is None:
        click.echo(f"no cluster in {found.home}")
    else:
        click.echo(_summary(found.state))
        if found.dead:
            click.echo(daemons.report_of_death(EmbeddedCluster(home).layout, found.dead))
        for problem in found.problems:
            click.echo(f"problem: {problem}")
    sys.exit(0 if found.healthy else 1)


@cluster.command()
@click.option("--delete", is_flag=True, help="Also delete what is in HDFS, and all logs.")
@_home
def down(home: Path | None, delete: bool) -> None:
    """Stop it; what is in HDFS stays for the next `up`."""
    embedded = EmbeddedCluster(home, _say)
    begun = time.monotonic()
    with _signals_unwind():
        ran = embedded.down(delete=delete)
    home = embedded.layout.home
    _say(f"down after {time.monotonic() - begun:.1f} s" if ran else f"nothing ran in {home}")
    if not delete and embedded.layout.hdfs.is_dir():
        _say(f"HDFS's data and the logs stay in {home}; --delete removes them")


@cluster.command()
@_home
def env(home: Path | None) -> None:
    """Print what a shell needs: eval "$(harpy cluster env)"."""
    embedded = EmbeddedCluster(home)
    for name, value in embedded.environment().items():
        click.echo(f"export {name}={shlex.quote(value)}")
    click.echo(f'export PATH={shlex.quote(str(embedded.layout.bin))}:"$PATH"')


def _summary(state: State) -> str:
    shape = state.shape
    lines = [
        f"Hadoop {state.hadoop} in {state.home}, started by {state.owner}"
        + (", with Hadoop's stock limits" if shape.stock else ""),
        f"  HDFS             {state.namenode}",
        f"  NameNode         {state.url('namenode.http')}",
        f"  ResourceManager  {state.url('resourcemanager.http')}",
        f"  JobHistory       {state.url('historyserver.http')}",
        f"  node managers    {shape.nodes} with {shape.memory_mb} MB, {shape.vcores} vcores each",
    ]
    if state.owner == "root":
        lines.append(
            "  note: started by root, so every local user can run code as root through it\n"
            "        (simple authentication); fine on a machine of your own only"
        )
    lines.append('  use it:  eval "$(harpy cluster env)"      stop it:  harpy cluster down')
    return "\n".join(lines)


def _as_json(found: Status) -> dict[str, object]:
    content: dict[str, object] = {
        "home": str(found.home),
        "up": found.state is not None,
        "healthy": found.healthy,
        "dead": list(found.dead),
        "problems": list(found.problems),
    }
    if found.state is not None:
        content.update({k: v for k, v in asdict(found.state).items() if k != "home"})
    return content


def _say(line: str) -> None:
    click.echo(f"cluster: {line}", err=True)


@contextmanager
def _signals_unwind() -> Iterator[None]:
    """Turn the first SIGTERM, SIGHUP or Ctrl-C into an exception; ignore more while cleaning up."""

    def unwind(number: int, frame: FrameType | None) -> None:
        for sig in signals:
            signal.signal(sig, signal.SIG_IGN)
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(128 + number)

    signals = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
    before = {sig: signal.signal(sig, unwind) for sig in signals}
    try:
        yield
    finally:
        for sig, handler in before.items():
            signal.signal(sig, handler)


def main() -> None:
    """Run the group by itself: `python -m harpy.cluster.cli`."""
    try:
        cluster(prog_name="harpy cluster")
    except HarpyError as exc:
        click.echo(f"harpy: {exc}", err=True)
        sys.exit(exc.exit_code)


if __name__ == "__main__":
    main()
