"""`harpy demo`: options, what is said while it runs, and where everything lies in the end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harpy.config import hadoop_conf_dir, resolve_launcher
from harpy.errors import ConfigError

if TYPE_CHECKING:
    from harpy.demo.comparison import Outcome
    from harpy.demo.pictures import PictureSet

_NAMED = 5  # skipped files named on the screen; report.json has them all


@click.command()
@click.option(
    "--images",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Photographs, one folder per class; default: scikit-learn's digits.",
)
@click.option(
    "--n-clusters", type=click.IntRange(min=2), help="Default: as many as there are classes."
)
@click.option("--n-node", type=click.IntRange(min=1), default=2, show_default=True, help="Workers.")
@click.option(
    "--n-thread", type=click.IntRange(min=1), default=1, show_default=True, help="Threads of each."
)
@click.option(
    "--launcher",
    type=click.Choice(["auto", "yarn", "local"]),
    default="auto",
    show_default=True,
    help="auto: yarn where HADOOP_CONF_DIR is set, else local.",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default=Path("demo-output"),
    show_default=True,
    help="Directory for contact sheet, labels and report.",
)
@click.option("--json", "as_json", is_flag=True, help="Only the report, as JSON on stdout.")
def demo(
    images: Path | None,
    n_clusters: int | None,
    n_node: int,
    n_thread: int,
    launcher: str,
    output: Path,
    as_json: bool,
) -> None:
    """Cluster pictures with scikit-learn's KMeans and with DAALKMeans, and compare.

    Both get the same parameters and seed. Prints six scores of each, and leaves a contact sheet
    of pictures per cluster, the labels and a report in the output directory.
    """
    from harpy.demo.comparison import Placement, compare
    from harpy.demo.packages import require
    from harpy.demo.report import check_output, score_table, write_results

    require("matplotlib")
    check_output(output)
    launcher, reason = resolve_launcher(launcher)
    placement = Placement(launcher, n_node, n_thread)
    pictures = _load(images)
    n_clusters = n_clusters or len(pictures.class_names)
    _say(
        f"DAALKMeans will run with launcher {launcher} ({reason}), {n_node} workers, "
        f"threads of each: {n_thread}"
    )
    outcomes = compare(pictures, n_clusters, placement, _say)
    report = write_results(output, pictures, outcomes, placement)
    if as_json:
        click.echo(json.dumps(report, indent=1))
        return
    from rich.console import Console

    title = f"{len(pictures.X):,} {pictures.name} in {n_clusters} clusters"
    Console(highlight=False).print(score_table(title, outcomes))
    click.echo(_closing_words(report, outcomes[-1]))


def _load(images: Path | None) -> PictureSet:
    from harpy.demo.pictures import load_digits, load_photographs

    if images is None:
        pictures = load_digits()
    else:
        _say(f"reading photographs from {images}")
        pictures = load_photographs(images)
    _say(
        f"{len(pictures.X):,} {pictures.name}, {len(pictures.class_names)} classes; "
        f"features: {pictures.features}"
    )
    if pictures.skipped:
        _say(f"skipped what is not a readable picture ({len(pictures.skipped)}):")
        for line in pictures.skipped[:_NAMED]:
            _say(f"  {line}")
        if len(pictures.skipped) > _NAMED:
            _say(f"  … and {len(pictures.skipped) - _NAMED} more, see report.json")
    return pictures


def _closing_words(report: dict[str, Any], outcome: Outcome) -> str:
    files, job = report["files"], report["job"]
    same = "the same groups" if report["agreement"] == 1 else "slightly different groups"
    lines = [
        f"Both found {same} (their ARI with each other: {report['agreement']:.3f}).",
        "",
        f"  contact sheet  {files['contact_sheet'][0]} and .pdf",
        f"  labels         {files['labels']}",
        f"  report         {files['report']}",
    ]
    if job is None or job["launcher"] != "yarn":
        return "\n".join(lines)
    lines.append(f"  job            {job['application_id']}")
    if job["tracking_url"]:
        lines.append(f"  its page       {job['tracking_url']}")
    if "all_workers" in job["timings"]:
        waited = job["timings"]["all_workers"]
        lines += [
            "",
            f"Of DAALKMeans' {outcome.seconds:.1f} s the first {waited:.1f} s went by until the "
            "workers of its job ran; a harpy.Session keeps them for many fits.",
        ]
    if _on_embedded_cluster():
        lines += ["", "The cluster on this machine still runs. Stop it with: harpy cluster down"]
    return "\n".join(lines)


def _on_embedded_cluster() -> bool:
    """Whether the Hadoop we talk to is the one `harpy cluster` runs."""
    from harpy.cluster.embedded import EmbeddedCluster

    conf = hadoop_conf_dir()
    try:
        return conf is not None and conf.samefile(EmbeddedCluster().layout.conf)
    except (OSError, ConfigError):
        return False


def _say(text: str) -> None:
    click.echo(text, err=True)
