"""Photographs in folders: read, described, or refused with the file and the reason."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harpy.demo.packages import require
from harpy.demo.pictures import load_digits, load_photographs, read_grey
from harpy.errors import ConfigError, DataError

Image = pytest.importorskip("PIL.Image", reason="needs pillow, of the demo extra")
pytest.importorskip("skimage", reason="needs scikit-image, of the demo extra")


def stripes(angle: float, size: tuple[int, int] = (60, 40), phase: float = 0.0) -> np.ndarray:
    """A picture (height, width) of stripes, 0..255."""
    y, x = np.mgrid[0 : size[1], 0 : size[0]] / 40
    wave = np.sin(20 * (x * np.cos(angle) + y * np.sin(angle)) + phase)
    return np.uint8(127 + 120 * wave)


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """Two classes of six pictures of several forms and sizes."""
    for name, angle in (("flat", np.pi / 2), ("steep", 0.0)):
        (tmp_path / name).mkdir()
        for number in range(6):
            size = (60 + 10 * number, 40 + 15 * number)
            image = Image.fromarray(stripes(angle, size, number))
            if number % 3 == 1:
                image = image.convert("RGB")
            suffix = ("jpg", "png", "webp")[number % 3]
            image.save(tmp_path / name / f"{number}.{suffix}")
    return tmp_path


def test_folders_are_classes_and_rows_have_length_one(photographs: Path) -> None:
    pictures = load_photographs(photographs)
    assert list(pictures.class_names) == ["flat", "steep"]
    assert pictures.classes.tolist() == [0] * 6 + [1] * 6
    assert pictures.X.dtype == np.float64
    np.testing.assert_allclose(np.linalg.norm(pictures.X, axis=1), 1)
    assert pictures.files[0] == "flat/0.jpg"
    assert not pictures.skipped


def test_features_tell_stripes_apart(photographs: Path) -> None:
    pictures = load_photographs(photographs)
    similar = pictures.X @ pictures.X.T
    same = pictures.classes[:, None] == pictures.classes
    assert similar[same].mean() > similar[~same].mean() + 0.5


def test_a_picture_is_a_square_between_black_and_white(photographs: Path) -> None:
    grey = read_grey(photographs / "flat" / "1.png")
    assert grey.shape == (128, 128)
    assert grey.dtype == np.float32
    assert 0 <= grey.min() < 0.2
    assert 0.8 < grey.max() <= 1


def test_what_is_no_picture_is_named_and_skipped(photographs: Path) -> None:
    (photographs / "flat" / "notes.txt").write_text("not a picture")
    (photographs / "flat" / "empty.jpg").touch()
    whole = (photographs / "steep" / "0.jpg").read_bytes()
    (photographs / "steep" / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (photographs / "steep" / ".hidden").write_text("ignored")
    (photographs / "README").write_text("ignored")
    pictures = load_photographs(photographs)
    assert len(pictures.X) == 12
    names = [line.split(":")[0] for line in pictures.skipped]
    assert names == ["flat/empty.jpg", "flat/notes.txt", "steep/cut.jpg"]
    assert pictures.skipped[1] == "flat/notes.txt: not a picture"
    assert "truncated" in pictures.skipped[2]


def test_folder_without_pictures_is_no_class(photographs: Path) -> None:
    (photographs / "aaa").mkdir()
    pictures = load_photographs(photographs)
    assert list(pictures.class_names) == ["flat", "steep"]
    assert pictures.classes.tolist() == [0] * 6 + [1] * 6


def test_absent_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot read the folder of pictures .*No such file"):
        load_photographs(tmp_path / "absent")


def test_file_instead_of_folder_is_an_error(photographs: Path) -> None:
    with pytest.raises(DataError, match="Not a directory"):
        load_photographs(photographs / "flat" / "0.jpg")


def test_empty_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds nothing; expected one sub-folder"):
        load_photographs(tmp_path)


def test_pictures_without_class_folders_are_an_error(photographs: Path) -> None:
    with pytest.raises(DataError, match="holds 6 files, no folder"):
        load_photographs(photographs / "flat")


def test_single_class_is_an_error_that_names_what_was_unreadable(photographs: Path) -> None:
    for path in (photographs / "steep").iterdir():
        path.write_bytes(b"broken")
    with pytest.raises(DataError, match=r"only flat of 2 folders\n  6 files .* steep/0.jpg"):
        load_photographs(photographs)


def test_missing_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harpy.demo.packages.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"needs pillow, scikit-image.*\n.*harpy-yarn\[demo\]"):
        require("PIL", "skimage")


def test_digits_need_no_download() -> None:
    digits = load_digits()
    assert digits.X.shape == (1797, 64)
    assert len(digits.class_names) == 10
    assert digits.picture(0).shape == (8, 8)
