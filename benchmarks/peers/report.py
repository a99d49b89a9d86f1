"""Tables for people, JSON for machines, a picture."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from peers.marks import Cell, Summary, mark_of
from peers.single import Finding

# Without a terminal there is no width to keep to.
WIDE = 180


def console() -> Console:
    usual = Console()
    return usual if usual.is_terminal else Console(width=WIDE)


def print_machine(out: Console, machine: dict[str, Any], speed: Any, missing: list[str]) -> None:
    out.print(
        f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gib']} GiB, "
        f"load {machine['load'][0]}; {machine['system']}, Python {machine['python']}",
        highlight=False,
    )
    versions = (f"{name} {number}" for name, number in machine["versions"].items() if number)
    out.print(f"{', '.join(versions)}; harpy uses {machine['instruction_set']}", highlight=False)
    pools = (f"{name} {threads}" for name, threads in machine["thread_pools"].items())
    out.print(f"threads: {', '.join(pools)}", highlight=False)
    for name, value in machine["dropped"].items():
        out.print(f"dropped from the environment: {name}={value}", highlight=False)
    for threads, rates in (speed or {}).items():
        out.print(
            f"measured, {threads} thread{'s' if threads > 1 else ''}: "
            f"FMA {rates['float32']:.0f} GFLOP/s float32, {rates['float64']:.0f} float64; "
            f"reads {rates['read']:.1f} GB/s",
            highlight=False,
        )
    for line in missing:
        out.print(f"[yellow]{line}[/yellow]", highlight=False)


def print_group(out: Console, cells: list[Cell], libraries: list[str]) -> None:
    """One table: a row for each problem, seconds by library, the best exact one in bold."""
    mode, dtype, kind = cells[0].group
    shown = [name for name in libraries if any(name in cell.best for cell in cells)]
    table = Table(title=f"{mode}, {dtype}, {kind}: best of all calls", title_justify="left")
    table.add_column("shape", no_wrap=True)
    iterates = any(cell.n_iter for cell in cells)
    if iterates:
        table.add_column("iter.", justify="right")
    for name in shown:
        exact = any(name in cell.exact for cell in cells) or name == "harpy"
        table.add_column(name if exact else f"({name})", justify="right")
    for name in ("GFLOP/s", "peer / harpy", "asked"):
        table.add_column(name, justify="right")
    for cell in cells:
        table.add_row(
            cell.name,
            *([str(cell.n_iter.get("scikit-learn", ""))] if iterates else []),
            *(format_seconds(cell, name) for name in shown),
            f"{cell.flops / cell.best['harpy'] / 1e9:.3g}" if "harpy" in cell.best else "",
            format_ratio(cell),
            f"{cell.bar:.2f}",
        )
    out.print(table)
    summary = Summary.of(cells)
    if summary is not None:
        mark = mark_of(mode, dtype, kind)
        asked = f" (asked {mark.mean:.1f})" if mark.mean else ""
        color = "green" if summary.reached else "red"
        out.print(
            f"geometric mean [{color}]{summary.mean:.2f}[/{color}]{asked}, "
            f"least {summary.least:.2f} (asked {mark.least:.1f}"
            f"{', less where 0.85·peak/peer is less' if mark.capped else ''})",
            highlight=False,
        )
    for cell in cells:
        for line in cell.misses:
            out.print(f"  [red]missed[/red] {cell.name}: {line}", highlight=False)
        for line in cell.notes:
            out.print(f"  {cell.name}: {line}", highlight=False)
    for name, reason in sorted({item for cell in cells for item in cell.absent.items()}):
        out.print(f"  {name} sat out: {reason}", highlight=False)
    out.print()


def format_seconds(cell: Cell, name: str) -> str:
    if name not in cell.best:
        return "-"
    seconds = cell.best[name]
    text = f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1e3:.3g} ms"
    return f"[bold]{text}[/bold]" if name == cell.best_peer else text


def format_ratio(cell: Cell) -> str:
    if cell.ratio is None:
        return "-"
    color = "red" if cell.misses else "green"
    return f"[{color}]{cell.ratio:.2f}[/{color}]"


def print_findings(out: Console, findings: list[Finding]) -> None:
    table = Table(title="harpy beside the machine", title_justify="left")
    for name in ("what", "shape", "dtype"):
        table.add_column(name, no_wrap=True)
    for name in ("threads", "got", "asked"):
        table.add_column(name, justify="right")
    table.add_column("")
    for finding in findings:
        color = "green" if finding.reached else "red"
        table.add_row(
            finding.what,
            finding.shape,
            finding.dtype,
            str(finding.n_thread),
            f"[{color}]{finding.got:.2f}[/{color}]",
            "-" if finding.asked is None else f"{finding.asked:.2f}",
            finding.detail,
        )
    out.print(table)


def write_json(
    path: Path,
    options: dict[str, Any],
    machine: dict[str, Any],
    speed: Any,
    groups: list[list[Cell]],
    findings: list[Finding],
) -> None:
    summaries = [Summary.of(cells) for cells in groups]
    content = {
        "options": options,
        "machine": machine,
        "speed": speed,
        "cells": [cell.to_json() for cells in groups for cell in cells],
        "summaries": [summary.to_json() for summary in summaries if summary is not None],
        "findings": [finding.to_json() for finding in findings],
    }
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def plot(path: Path, groups: list[list[Cell]], libraries: list[str]) -> None:
    """Peers' seconds by harpy's, a panel for each group: right of 1 harpy is faster."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator

    took_part = {name for cells in groups for cell in cells for name in cell.best}
    peers = [name for name in libraries if name != "harpy" and name in took_part]
    markers = dict(zip(peers, "osD^vPX*", strict=False))
    rows = sum(len(cells) for cells in groups)
    figure = Figure(figsize=(9, 1.2 * len(groups) + 0.32 * rows), layout="constrained")
    panels = figure.subplots(
        len(groups),
        1,
        squeeze=False,
        sharex=True,
        height_ratios=[len(cells) + 1 for cells in groups],
    )[:, 0]
    for panel, cells in zip(panels, groups, strict=True):
        for place, cell in enumerate(cells):
            if "harpy" not in cell.best:
                continue
            panel.plot([cell.bar] * 2, [place - 0.4, place + 0.4], color="black", linewidth=2)
            for number, peer in enumerate(peers):
                if peer in cell.best:
                    panel.plot(
                        cell.best[peer] / cell.best["harpy"],
                        place,
                        markers[peer],
                        color=f"C{number}",
                        markerfacecolor=f"C{number}" if peer in cell.exact else "none",
                    )
        panel.axvline(1.0, color="gray", linewidth=1, linestyle=":")
        panel.set(
            xscale="log",
            yticks=range(len(cells)),
            yticklabels=[cell.name for cell in cells],
            ylim=(len(cells) - 0.4, -0.6),
        )
        panel.set_title(", ".join(cells[0].group), loc="left", fontsize="medium")
        panel.grid(axis="x", which="both", alpha=0.2)
    panels[-1].xaxis.set_major_formatter("{x:g}")
    panels[-1].xaxis.set_minor_formatter("")
    panels[-1].xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    panels[-1].set_xlabel("seconds of a peer / seconds of harpy (black bar: what is asked)")
    exact = frozenset().union(*(cell.exact for cells in groups for cell in cells))
    for number, peer in enumerate(peers):
        fill = f"C{number}" if peer in exact else "none"
        label = peer if peer in exact else f"{peer} (not exact)"
        panels[0].plot([], [], markers[peer], color=f"C{number}", markerfacecolor=fill, label=label)
    figure.legend(
        *panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=len(peers)
    )
    figure.savefig(path, dpi=120)
