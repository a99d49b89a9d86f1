"""What harpy has to reach, and whether a cell did."""

from __future__ import annotations

import math
from collections.abc import Set
from dataclasses import dataclass, field
from typing import Any

# Where flat superkmeans, though not exact, must not be faster in 10 iterations.
NO_SLOWER = ("200000x128k1024", "100000x768k1000")
NO_SLOWER_KINDS = ("separated", "overlapping")
# Share of the FMA peak that is asked for where that is less than a mark.
PEAK_SHARE = 0.85
# Relative: float32 peers that add rows in float32 are off by about so much.
SAME_INERTIA = 1e-3


@dataclass(frozen=True)
class Mark:
    """Best exact peer's seconds divided by harpy's: geometric mean of the shapes, and the least.

    Attributes
    ----------
    least : float
        0.85·peak/peer where that is less and `capped`: so much faster than the best peer a kernel
        would be that skips no work and runs at 85 % of the FMA peak.
    against : str
        Only peers whose names begin so count; of the others none may be faster than harpy.
    """

    mean: float | None
    least: float
    capped: bool = True
    against: str = ""


MARKS = {
    ("iterations", "float32"): Mark(3.0, 1.5),
    ("iterations", "float64"): Mark(3.5, 1.5),
    ("convergence", "float32"): Mark(5.0, 2.0),
    ("seeding", "float32"): Mark(5.0, 2.0, capped=False),
    ("seeding", "float64"): Mark(5.0, 2.0, capped=False),
    ("predict", "float32"): Mark(2.5, 1.5, capped=False),
    ("predict", "float64"): Mark(2.5, 1.5, capped=False),
    ("sparse", "float32"): Mark(5.0, 2.5, capped=False, against="scikit-learn"),
    ("sparse", "float64"): Mark(5.0, 2.5, capped=False, against="scikit-learn"),
}
BINDING_KINDS = ("overlapping", "text")
ELSEWHERE = Mark(None, 1.0, capped=False)


def mark_of(mode: str, dtype: str, kind: str) -> Mark:
    return MARKS.get((mode, dtype), ELSEWHERE) if kind in BINDING_KINDS else ELSEWHERE


@dataclass(frozen=True)
class Cell:
    """One problem in one mode, and how long everybody took.

    Attributes
    ----------
    seconds : dict of str to list of float
        By library.
    n_iter : dict of str to int
        Iterations by library; where there are none (predict, seeding) empty.
    inertia : dict of str to float
        Of those that report it.
    absent : dict of str to str
        Why libraries sat out.
    exact : frozenset of str
        Names of the exact peers.
    flops : float
        Of the exhaustive method.
    peak : float or None
        Measured GFLOP/s of the FMA loop with as many threads.
    """

    mode: str
    kind: str
    dtype: str
    name: str
    seconds: dict[str, list[float]]
    exact: frozenset[str]
    flops: float
    peak: float | None = None
    n_iter: dict[str, int] = field(default_factory=dict)
    inertia: dict[str, float] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)

    @property
    def group(self) -> tuple[str, str, str]:
        return self.mode, self.dtype, self.kind

    @property
    def best(self) -> dict[str, float]:
        return {name: min(seconds) for name, seconds in self.seconds.items()}

    @property
    def mark(self) -> Mark:
        return mark_of(self.mode, self.dtype, self.kind)

    @property
    def best_peer(self) -> str | None:
        """The fastest of the exact peers that count."""
        return self._fastest(self._judges)

    @property
    def _judges(self) -> set[str]:
        return {name for name in self.exact if name.startswith(self.mark.against)}

    def _fastest(self, names: Set[str]) -> str | None:
        return min(names & self.best.keys(), key=self.best.__getitem__, default=None)

    @property
    def ratio(self) -> float | None:
        """Best exact peer's seconds by harpy's."""
        if self.best_peer is None or "harpy" not in self.best:
            return None
        return self.best[self.best_peer] / self.best["harpy"]

    @property
    def bar(self) -> float:
        """The least ratio asked of this cell."""
        mark = self.mark
        if not mark.capped or self.peak is None or self.best_peer is None:
            return mark.least
        at_peak = self.flops / (self.peak * 1e9)
        return min(mark.least, PEAK_SHARE * self.best[self.best_peer] / at_peak)

    @property
    def misses(self) -> list[str]:
        """What this cell should have shown and did not."""
        found = []
        if self.ratio is not None and self.ratio < self.bar:
            found.append(f"{self.ratio:.2f} of {self.best_peer}, asked {self.bar:.2f}")
        others = self.exact - self._judges
        if self.mode == "iterations" and self.name in NO_SLOWER and self.kind in NO_SLOWER_KINDS:
            others |= {"superkmeans"}
        other = self._fastest(others)
        if other and "harpy" in self.best and self.best[other] < self.best["harpy"]:
            found.append(f"{self.best[other] / self.best['harpy']:.2f} of {other}, asked 1.00")
        return found

    @property
    def notes(self) -> list[str]:
        """Where exact libraries did not do the same: rounding may send them different ways."""
        found = []
        if len(set(self.n_iter.values())) > 1:
            counts = (f"{name} {count}" for name, count in self.n_iter.items())
            found.append(f"iterations: {', '.join(counts)}")
        ours = self.inertia.get("harpy")
        if ours is None:
            return found
        return found + [
            f"inertia of {name} is {theirs / ours:.4f} of harpy's"
            for name, theirs in self.inertia.items()
            if not math.isclose(ours, theirs, rel_tol=SAME_INERTIA)
        ]

    def to_json(self) -> dict[str, Any]:
        return {
            "mode": self.mode,
            "kind": self.kind,
            "dtype": self.dtype,
            "name": self.name,
            "seconds": self.seconds,
            "n_iter": self.n_iter,
            "inertia": self.inertia,
            "absent": self.absent,
            "flops": self.flops,
            "peak_gflops": self.peak,
            "best_peer": self.best_peer,
            "ratio": self.ratio,
            "bar": self.bar,
            "misses": self.misses,
            "notes": self.notes,
        }


@dataclass(frozen=True)
class Summary:
    """A group of cells beside its mark."""

    group: tuple[str, str, str]
    mean: float
    least: float
    cells: list[Cell]

    @classmethod
    def of(cls, cells: list[Cell]) -> Summary | None:
        """None where no cell has both harpy and a peer."""
        ratios = [cell.ratio for cell in cells if cell.ratio is not None]
        if not ratios:
            return None
        mean = math.exp(math.fsum(map(math.log, ratios)) / len(ratios))
        return cls(cells[0].group, mean, min(ratios), cells)

    @property
    def mark(self) -> Mark:
        return mark_of(*self.group)

    @property
    def reached(self) -> bool:
        mean_reached = self.mark.mean is None or self.mean >= self.mark.mean
        return mean_reached and not any(cell.misses for cell in self.cells)

    def to_json(self) -> dict[str, Any]:
        return {
            "group": self.group,
            "mean": self.mean,
            "least": self.least,
            "asked_mean": self.mark.mean,
            "asked_least": self.mark.least,
            "reached": self.reached,
        }
