"""What the demo leaves: contact sheet, labels.csv, report.json; and the table it prints."""

from __future__ import annotations

import csv
import json
import math
import os
import platform
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harpy.demo.comparison import MAX_ITER, N_INIT, SCORES, SEED, Outcome, Placement
from harpy.demo.contact_sheet import draw_contact_sheet
from harpy.demo.pictures import PictureSet
from harpy.errors import ConfigError

if TYPE_CHECKING:
    from rich.table import Table

SHEETS = ("contact-sheet.png", "contact-sheet.pdf")
LABELS = "labels.csv"
REPORT = "report.json"


def check_output(folder: Path) -> None:
    """See, before any work is done, that results can be written there; makes nothing yet.

    Raises
    ------
    ConfigError
        It is a file, or neither it nor the nearest folder above it is writable.
    """
    nearest = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not nearest.is_dir():
        problem = f"{nearest} is a file"
    elif not os.access(nearest, os.W_OK | os.X_OK):
        problem = f"{nearest} is not writable"
    else:
        return
    raise ConfigError(f"cannot write results to {folder}: {problem}; choose another --output")


def write_results(
    folder: Path, pictures: PictureSet, outcomes: list[Outcome], placement: Placement
) -> dict[str, Any]:
    """Write contact sheet, labels and report of a comparison; return the report."""
    folder.mkdir(parents=True, exist_ok=True)
    best = outcomes[-1]
    targets = [folder / name for name in SHEETS]
    draw_contact_sheet(pictures, best, _subtitle(best), targets)
    _write_labels(folder / LABELS, pictures, outcomes)
    report = _report(folder, pictures, outcomes, placement)
    (folder / REPORT).write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return report


def _subtitle(outcome: Outcome) -> str:
    scores = outcome.scores
    where = "on this machine"
    if outcome.job is not None:
        workers = "1 worker" if outcome.job.n_node == 1 else f"{outcome.job.n_node} workers"
        where = f"{workers} {'on YARN' if outcome.job.launcher == 'yarn' else 'on this machine'}"
    return (
        f"{outcome.name}, {where} · ARI {scores['ARI']:.2f} · "
        f"V-measure {scores['V-measure']:.2f} · silhouette {scores['silhouette']:.2f}"
    )


def _write_labels(path: Path, pictures: PictureSet, outcomes: list[Outcome]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["file", "class", *(f"cluster of {o.name}" for o in outcomes)])
        for index, name in enumerate(pictures.files):
            true = pictures.class_names[pictures.classes[index]]
            table.writerow([name, true, *(int(o.labels[index]) for o in outcomes)])


def _report(
    folder: Path, pictures: PictureSet, outcomes: list[Outcome], placement: Placement
) -> dict[str, Any]:
    from sklearn import __version__ as sklearn_version
    from sklearn.metrics import adjusted_rand_score

    from harpy import __version__

    first, last = outcomes[0], outcomes[-1]
    return {
        "pictures": {
            "name": pictures.name,
            "n": len(pictures.X),
            "features": pictures.features,
            "classes": list(pictures.class_names),
            "skipped": list(pictures.skipped),
        },
        "parameters": {
            "n_clusters": len(first.centers),
            "init": "random",
            "n_init": N_INIT,
            "max_iter": MAX_ITER,
            "random_state": SEED,
        },
        "placement": asdict(placement),
        "results": {outcome.name: _result(outcome) for outcome in outcomes},
        # 1 where both put the pictures into the same groups, whatever their numbers.
        "agreement": float(adjusted_rand_score(first.labels, last.labels)),
        "job": _job(last.job),
        "files": {
            "contact_sheet": [str(folder / name) for name in SHEETS],
            "labels": str(folder / LABELS),
            "report": str(folder / REPORT),
        },
        "versions": {
            "harpy": __version__,
            "scikit-learn": sklearn_version,
            "python": platform.python_version(),
        },
    }


def _result(outcome: Outcome) -> dict[str, Any]:
    # JSON has no nan.
    scores = {n: None if math.isnan(v) else v for n, v in outcome.scores.items()}
    return {
        "scores": scores,
        "seconds": outcome.seconds,
        "inertia": outcome.inertia,
        "n_iter": outcome.n_iter,
    }


def _job(job: Any) -> dict[str, Any] | None:
    if job is None:
        return None
    return {
        "id": job.id,
        "launcher": job.launcher,
        "application_id": job.application_id,
        "tracking_url": job.tracking_url,
        "n_node": job.n_node,
        "n_thread": job.n_thread,
        "timings": dict(job.timings),
    }


def score_table(title: str, outcomes: list[Outcome]) -> Table:
    """The six scores of both, side by side, with iterations and seconds."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD)
    table.add_column("")
    for outcome in outcomes:
        table.add_column(outcome.name, justify="right")
    for name in SCORES:
        table.add_row(name, *(f"{outcome.scores[name]:.3f}" for outcome in outcomes))
    table.add_section()
    table.add_row("inertia", *(f"{outcome.inertia:.6g}" for outcome in outcomes))
    table.add_row("iterations", *(str(outcome.n_iter) for outcome in outcomes))
    table.add_row("seconds", *(f"{outcome.seconds:.2f}" for outcome in outcomes))
    return table
