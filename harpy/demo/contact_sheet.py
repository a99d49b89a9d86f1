"""The contact sheet: a row of pictures per cluster, as PNG and PDF.

Owns what is drawn where, and which pictures stand for a cluster: honestly, evenly from the one
nearest to the center to the farthest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from harpy.demo.comparison import Outcome
from harpy.demo.packages import require
from harpy.demo.pictures import PictureSet

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PER_CLUSTER = 10
MAX_ROWS = 40  # the largest clusters; more do not fit on a sheet one can look at

# All lengths in units of one picture's side, whose size on paper is _SIDE_INCH.
_SIDE_INCH = 0.82
_GAP = 0.10
_LABEL = 2.55
_MARGIN = 0.45
_HEAD = 1.18
_CAPTION = 0.24
_ROW = 1 + _CAPTION + 0.20
_DPI = 150

_INK, _QUIET, _RULE = "#1f2933", "#6b7785", "#dfe3e8"
_OTHER, _MAJORITY = "#d1495b", "#2a7f9e"


@dataclass(frozen=True)
class ClusterRow:
    """What a row shows of one cluster."""

    cluster: int
    size: int
    majority: int  # class index
    n_majority: int
    chosen: np.ndarray  # picture indices

    @property
    def share(self) -> float:
        """The part of the cluster's images that are of its commonest class."""
        return self.n_majority / self.size


def choose_rows(
    pictures: PictureSet, outcome: Outcome, per_cluster: int = PER_CLUSTER
) -> list[ClusterRow]:
    """The clusters that are not empty, those of one majority class together, purest first."""
    rows = []
    for cluster in range(len(outcome.centers)):
        members = np.flatnonzero(outcome.labels == cluster)
        if not len(members):
            continue
        counts = np.bincount(pictures.classes[members], minlength=len(pictures.class_names))
        majority = int(counts.argmax())
        distances = np.linalg.norm(pictures.X[members] - outcome.centers[cluster], axis=1)
        ordered = members[np.argsort(distances, kind="stable")]
        picks = np.linspace(0, len(ordered) - 1, min(per_cluster, len(ordered)))
        chosen = ordered[picks.round().astype(int)]
        rows.append(ClusterRow(cluster, len(members), majority, int(counts[majority]), chosen))
    if len(rows) > MAX_ROWS:
        rows = sorted(rows, key=lambda row: -row.size)[:MAX_ROWS]
    return sorted(rows, key=lambda row: (row.majority, -row.share, row.cluster))


def draw_contact_sheet(
    pictures: PictureSet, outcome: Outcome, subtitle: str, targets: Sequence[Path]
) -> None:
    """Draw the clusters of `outcome` and save the sheet to every target (by its suffix).

    Raises
    ------
    ConfigError
        matplotlib is not installed.
    """
    require("matplotlib")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = choose_rows(pictures, outcome)
    width = 2 * _MARGIN + _LABEL + PER_CLUSTER * (1 + _GAP) - _GAP
    height = _HEAD + len(rows) * _ROW + _MARGIN
    figure = Figure(figsize=(width * _SIDE_INCH, height * _SIDE_INCH), facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.axis("off")
    n_clusters = len({int(label) for label in outcome.labels})
    shown = "" if len(rows) == n_clusters else f", the {len(rows)} largest shown"
    title = f"{len(pictures.X):,} {_shortened(pictures.name, 44)} in {n_clusters} clusters{shown}"
    _draw_head(axes, title, subtitle, width, height)
    for number, row in enumerate(rows):
        _draw_row(axes, pictures, row, height - _HEAD - number * _ROW)
    # Set last: imshow moves them.
    axes.set(xlim=(0, width), ylim=(0, height), aspect="equal")
    for target in targets:
        figure.savefig(target, dpi=_DPI, metadata=_metadata(target, title))


def _draw_head(axes: Axes, title: str, subtitle: str, width: float, height: float) -> None:
    top = height - _MARGIN
    axes.text(_MARGIN, top, title, size=17, weight="bold", color=_INK, va="top")
    axes.text(_MARGIN, top - 0.38, subtitle, size=9.5, color=_QUIET, va="top")
    axes.text(
        width - _MARGIN,
        top - 0.39,
        "from nearest to farthest from the center · framed: not of the main class",
        size=9.5,
        color=_QUIET,
        va="top",
        ha="right",
    )


def _draw_row(axes: Axes, pictures: PictureSet, row: ClusterRow, top: float) -> None:
    """One cluster, in the band that begins at `top` and is _ROW high."""
    right = _MARGIN + _LABEL + PER_CLUSTER * (1 + _GAP) - _GAP
    axes.plot([_MARGIN, right], [top, top], color=_RULE, linewidth=0.8)
    top -= 0.12
    _draw_label(axes, row, pictures.class_names[row.majority], top)
    for column, index in enumerate(row.chosen):
        left = _MARGIN + _LABEL + column * (1 + _GAP)
        belongs = pictures.classes[index] == row.majority
        class_name = pictures.class_names[pictures.classes[index]]
        _draw_picture(axes, pictures.picture(int(index)), left, top, belongs, class_name)


def _draw_label(axes: Axes, row: ClusterRow, class_name: str, top: float) -> None:
    main = _shortened(class_name, 15)
    axes.text(_MARGIN, top - 0.06, main, size=13, weight="bold", color=_INK, va="top")
    size = f"cluster {row.cluster} · {row.size:,} pictures"
    axes.text(_MARGIN, top - 0.40, size, size=9, color=_QUIET, va="top")
    length = _LABEL - 0.95
    _bar(axes, _MARGIN, top - 0.78, length, _RULE)
    _bar(axes, _MARGIN, top - 0.78, length * row.share, _MAJORITY)
    axes.text(
        _MARGIN + length + 0.12, top - 0.735, f"{row.share:.0%}", size=9, color=_INK, va="center"
    )


def _bar(axes: Axes, left: float, bottom: float, length: float, color: str) -> None:
    from matplotlib.patches import Rectangle

    axes.add_patch(Rectangle((left, bottom), length, 0.09, color=color, linewidth=0))


def _draw_picture(
    axes: Axes, picture: np.ndarray, left: float, top: float, belongs: bool, class_name: str
) -> None:
    from matplotlib.patches import Rectangle

    small = picture.shape[0] < 32  # drawn as the pixels they are
    axes.imshow(
        picture,
        cmap="gray",
        vmin=0,
        vmax=1,
        extent=(left, left + 1, top - 1, top),
        interpolation="nearest" if small else "antialiased",
        zorder=2,
    )
    color, line = (_RULE, 0.8) if belongs else (_OTHER, 2.4)
    axes.add_patch(
        Rectangle((left, top - 1), 1, 1, fill=False, edgecolor=color, linewidth=line, zorder=3)
    )
    if not belongs:
        axes.text(
            left + 0.5,
            top - 1.06,
            _shortened(class_name, 13),
            size=7.5,
            color=_OTHER,
            ha="center",
            va="top",
        )


def _shortened(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def _metadata(target: Path, title: str) -> dict[str, str | None]:
    # Without a date the same clustering gives the same file.
    return {"Title": title} | ({"CreationDate": None} if target.suffix == ".pdf" else {})
