"""How a worker's process ends, as its launcher reads it; docs/architecture.md has the meanings."""

DONE = 0
FIRST_CAUSE = 1
ECHO = 75
SUPERSEDED = 76
UNREACHABLE = 77
