"""What tests of several groups share; no test is in here. `programs/` holds files that workers load
by their path, everything else is imported."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]  # of the repository
