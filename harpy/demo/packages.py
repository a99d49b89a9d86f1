"""Packages only the demo needs, and what to say when they are missing."""

from __future__ import annotations

from importlib.util import find_spec

from harpy.errors import ConfigError

_DISTRIBUTIONS = {"PIL": "pillow", "skimage": "scikit-image", "matplotlib": "matplotlib"}


def require(*modules: str) -> None:
    """ConfigError that names the packages to install, unless all `modules` can be imported."""
    missing = [_DISTRIBUTIONS[name] for name in modules if find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"the demo needs {', '.join(missing)}, not installed here.\n"
            "  pip install 'harpy-yarn[demo]'"
        )
