"""`python -m harpy.cli` is `harpy`."""

from harpy.cli import main

main()
