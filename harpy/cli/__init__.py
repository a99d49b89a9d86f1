"""The command line: results on stdout, messages on stderr; commands import what they need."""

from harpy.cli.commands import main

__all__ = ["main"]
