"""Pictures with known classes, and their features: scikit-learn's digits or your photographs.

Owns reading, resizing and feature extraction. Neither the class of a picture enters a feature nor
its size, which in many collections gives the class away.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from harpy.cpus import available_cpus
from harpy.errors import DataError

SIDE = 128  # photographs are squeezed to a square of this many pixels
N_COMPONENTS = 50
_BATCH = 16  # photographs a process takes at once


@dataclass(frozen=True)
class PictureSet:
    """Pictures, what k-means sees of them, and the truth it does not see.

    Attributes
    ----------
    name : str
    X : ndarray of shape (n_pictures, n_features), float64
    classes : ndarray of shape (n_pictures,), int
        Index into `class_names`.
    class_names : sequence of str
    picture : callable
        Index -> grey picture, ndarray of shape (height, width), 0 black to 1 white.
    files : sequence of str
        A name per picture, for people.
    features : str
        What X is, in a few words.
    skipped : sequence of str
        Files that were left out, with the reason.
    """

    name: str
    X: np.ndarray
    classes: np.ndarray
    class_names: Sequence[str]
    picture: Callable[[int], np.ndarray]
    files: Sequence[str]
    features: str
    skipped: Sequence[str] = field(default=())


def load_digits() -> PictureSet:
    """scikit-learn's 1,797 handwritten digits of 8 x 8 pixels, which need no download."""
    from sklearn import datasets

    bunch = datasets.load_digits()
    images = bunch.images / 16.0
    return PictureSet(
        name="handwritten digits",
        X=np.ascontiguousarray(bunch.data, dtype=np.float64),
        classes=bunch.target,
        class_names=[str(name) for name in bunch.target_names],
        picture=lambda index: 1.0 - images[index],  # ink is dark
        files=[f"digit {index:04d}" for index in range(len(images))],
        features="64 grey values of 8 x 8 pixels",
    )


def load_photographs(folder: Path) -> PictureSet:
    """Photographs from `folder`, one sub-folder per class, described by oriented gradients.

    Each is made grey and squeezed to a square; 8 orientations in cells of 16 x 16 pixels,
    normalised over blocks of 2 x 2 cells (Dalal and Triggs, 2005); then the 50 principal
    components, each row scaled to length one.

    Raises
    ------
    DataError
        There is no such folder, or fewer than two classes with a readable picture.
    ConfigError
        A package of the demo is missing.
    """
    from harpy.demo.packages import require

    require("PIL", "skimage")
    folders = _class_folders(folder)
    files = [(path, index) for index, sub in enumerate(folders) for path in _files_of(sub)]
    described = _describe_all([path for path, _ in files])
    rows, classes, kept, skipped = [], [], [], []
    for (path, index), result in zip(files, described, strict=True):
        name = f"{folders[index].name}/{path.name}"
        if isinstance(result, str):
            skipped.append(f"{name}: {result}")
        else:
            rows.append(result)
            classes.append(index)
            kept.append(path)
    _check_classes(folder, folders, classes, skipped)
    X = _reduce(np.asarray(rows, dtype=np.float64))
    # Folders without a readable picture are no class.
    present = sorted(set(classes))
    return PictureSet(
        name=f"photographs of {folder.name or folder}",
        X=X,
        classes=np.searchsorted(present, classes),
        class_names=[folders[index].name for index in present],
        picture=lambda index: read_grey(kept[index]),
        files=[f"{path.parent.name}/{path.name}" for path in kept],
        features=f"oriented gradients, {X.shape[1]} principal components",
        skipped=skipped,
    )


def read_grey(path: Path) -> np.ndarray:
    """A photograph as a grey square, ndarray (SIDE, SIDE) of float32 between 0 and 1."""
    from PIL import Image, ImageOps

    with Image.open(path) as image:
        upright: Image.Image = ImageOps.exif_transpose(image)
        square = upright.convert("L").resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    return np.asarray(square, dtype=np.float32) / 255


def describe(path: Path) -> np.ndarray | str:
    """The oriented gradients of one photograph, or why it cannot be read."""
    from PIL import UnidentifiedImageError
    from skimage.feature import hog

    try:
        grey = read_grey(path)
    except UnidentifiedImageError:
        return "not a picture"
    except Exception as exc:  # whatever a decoder makes of a broken or foreign file
        return f"{type(exc).__name__}: {exc}"
    return hog(
        grey,
        orientations=8,
        pixels_per_cell=(16, 16),
        cells_per_block=(2, 2),
        block_norm="L2-Hys",
        feature_vector=True,
    )


def _describe_all(paths: list[Path]) -> list[np.ndarray | str]:
    """`describe` on all cores: processes, as gradients hold the GIL."""
    n_processes = min(available_cpus(), len(paths) // (4 * _BATCH))
    if n_processes < 2:
        return [describe(path) for path in paths]
    with ProcessPoolExecutor(n_processes) as pool:
        return list(pool.map(describe, paths, chunksize=_BATCH))


def _reduce(rows: np.ndarray) -> np.ndarray:
    from sklearn.decomposition import PCA
    from sklearn.preprocessing import normalize

    n_components = min(N_COMPONENTS, *rows.shape)
    return normalize(PCA(n_components, svd_solver="full").fit_transform(rows))


def _class_folders(folder: Path) -> list[Path]:
    try:
        folders = sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
        n_loose = sum(1 for p in folder.iterdir() if p.is_file())
    except OSError as exc:
        raise DataError(
            f"cannot read the folder of pictures {folder}: {exc.strerror or exc}\n"
            "  expected a folder with one sub-folder of pictures per class"
        ) from exc
    if not folders:
        there = f"{n_loose} files, no folder" if n_loose else "nothing"
        raise DataError(
            f"{folder} holds {there}; expected one sub-folder of pictures per class, "
            f"e.g. {folder}/coast/*.jpg and {folder}/forest/*.jpg"
        )
    return folders


def _files_of(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith("."))


def _check_classes(
    folder: Path, folders: list[Path], classes: list[int], skipped: list[str]
) -> None:
    present = {folders[index].name for index in classes}
    if len(present) >= 2:
        return
    found = f"only {', '.join(present)}" if present else "none"
    message = (
        f"{folder}: expected at least two classes with readable pictures, got {found} "
        f"of {len(folders)} folders"
    )
    if skipped:
        message += f"\n  {len(skipped)} files could not be read, the first: {skipped[0]}"
    raise DataError(message)
