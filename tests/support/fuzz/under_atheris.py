"""One of targets.py under atheris.

python -m tests.support.fuzz.under_atheris TARGET [libFuzzer's options]
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(
    include=["harpy.gang", "harpy.wire", "json", "tests.support.fuzz.targets"]
):
    from harpy.gang import messages  # noqa: F401
    from harpy.wire import auth, frames, record  # noqa: F401
    from tests.support.fuzz.targets import TARGETS


def main() -> None:
    """Run until a deadline of the options, or until something is found (exit code 77)."""
    target = TARGETS[sys.argv[1]]
    atheris.Setup([sys.argv[0], *sys.argv[2:]], target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
