"""Options and arguments that several commands share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from harpy.errors import ConfigError


def hadoop_pairs(
    ctx: click.Context, option: click.Parameter, values: tuple[str, ...]
) -> dict[str, str]:
    """Callback of a repeated KEY=VALUE option."""
    pairs = [v.partition("=") for v in values]
    for value, (key, equals, _) in zip(values, pairs, strict=True):
        if not key or not equals:
            raise click.BadParameter(f"expected KEY=VALUE, got {value!r}")
    return {key: value for key, _, value in pairs}


def parameters(
    ctx: click.Context, option: click.Parameter, values: tuple[str, ...]
) -> dict[str, Any]:
    """NAME=JSON; what is not JSON is taken as a string."""
    parsed: dict[str, Any] = {}
    for name, text in hadoop_pairs(ctx, option, values).items():
        try:
            parsed[name] = json.loads(text)
        except ValueError:
            parsed[name] = text
    return parsed


def session_options(command: Any) -> Any:
    """The options every command that opens a session takes."""
    for option in reversed(
        [
            click.option("--n-node", type=click.IntRange(1), default=1, show_default=True),
            click.option("--n-thread", type=click.IntRange(1), default=1, show_default=True),
            click.option("--n-mem", type=click.IntRange(1), help="MB of one worker's container."),
            click.option(
                "--launcher",
                type=click.Choice(["auto", "local", "yarn"]),
                default="auto",
                show_default=True,
            ),
            click.option("--workdir", help="Where the job directory is made."),
            click.option("--queue", help="YARN queue."),
            click.option(
                "-D", "hadoop_conf", multiple=True, metavar="KEY=VALUE", callback=hadoop_pairs
            ),
            click.option("--keep", is_flag=True, help="Leave the job directory."),
            click.option("--progress/--no-progress", default=None, help="On stderr."),
        ]
    ):
        command = option(command)
    return command


def load_npy(path: Path) -> Any:
    """An array from a .npy file; ConfigError when there is none or it is something else."""
    import numpy as np

    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError as exc:
        raise ConfigError(f"no file {path} (looked in {Path.cwd()})") from exc
    except (OSError, ValueError) as exc:
        raise ConfigError(f"{path} is not a .npy file: {exc}") from exc
