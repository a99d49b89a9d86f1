"""Turns what Hadoop says about a failed attempt into an AttemptFailure for people. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from harpy.launch.base import AttemptFailure
from harpy.launch.endings import ending

_MARK = re.compile(r"harpy-failure (\{.*\})\s*$", re.MULTILINE)
_TIME = re.compile(r"^\[\d{4}-\d\d-\d\d [\d:.]+\]")
_TOO_MUCH_MEMORY = re.compile(r"beyond the '(PHYSICAL|VIRTUAL)' memory limit")
_TAIL_LINES = 20
_SIGNALLED = 128


def attempt_failure(facts: Mapping[str, Any]) -> AttemptFailure:
    """Return what one `attempt_failed` event of the submitter means.

    `facts` has `attempt`, `task` (its number is the rank), `node` (its web address) and
    `diagnostics`, which holds our own line (WorkerFailure.java) or only Hadoop's words.
    """
    words = str(facts.get("diagnostics") or "").strip()
    found = _MARK.search(words)
    if found is None:
        return _hadoops_own(facts, words)
    told = json.loads(found.group(1))
    if told["kind"] == "InterpreterMissing":
        return _interpreter_missing(told)
    if told.get("error"):
        return _workers_own(told)
    return AttemptFailure(
        rank=told["rank"],
        attempt=told["attempt"],
        host=told["host"],
        message=f"rank {told['rank']} on {told['host']} {_how_it_ended(told)}",
        echo=told["echo"],
        detail=_tail(told["stderr"]),
        kind="InterpreterMissing" if _cannot_import(told) else "WorkerLost",
    )


def _workers_own(told: Mapping[str, Any]) -> AttemptFailure:
    """The worker said itself what happened, before it left."""
    try:
        error = json.loads(told["error"])
    except ValueError:
        error = {"message": told["error"]}
    host = error.get("host") or told["host"]
    return AttemptFailure(
        rank=told["rank"],
        attempt=told["attempt"],
        host=host,
        message=str(error.get("message", "")),
        echo=bool(error.get("echo", told["echo"])),
        detail=str(error.get("detail") or _tail(told["stderr"])),
        kind=str(error.get("kind") or "WorkerLost"),
    )


def _interpreter_missing(told: Mapping[str, Any]) -> AttemptFailure:
    reason = str(told["message"])
    for javas in (r'^Cannot run program "[^"]*"( \(in directory "[^"]*"\))?: ', r"^error=\d+, "):
        reason = re.sub(javas, "", reason)
    return AttemptFailure(
        rank=told["rank"],
        attempt=told["attempt"],
        host=told["host"],
        message=(
            f"the workers' Python {told['python']} does not start on node {told['host']} "
            f"for unix user {told['user']}: {reason}.\n"
            "  It must lie at the same path on every node, and that user must be allowed into "
            "every folder above it (an environment below a private home is not)."
        ),
        kind="InterpreterMissing",
    )


def _cannot_import(told: Mapping[str, Any]) -> bool:
    return not told["greeted"] and "No module named" in told["stderr"]


def _how_it_ended(told: Mapping[str, Any]) -> str:
    if told["killed_because"]:
        return str(told["killed_because"])
    if _cannot_import(told):
        return f"cannot import harpy: {told['python']} on that node is not the driver's environment"
    code = told["exit_code"]
    stage = "" if told["greeted"] else " before its first word"
    return ending(_SIGNALLED - code if code > _SIGNALLED else code, stage)


def _hadoops_own(facts: Mapping[str, Any], words: str) -> AttemptFailure:
    """No word of ours: the container was killed, or never ran."""
    host = str(facts.get("node") or "").removeprefix("http://").split(":")[0]
    lines = [_TIME.sub("", line).strip() for line in words.splitlines() if line.strip()]
    first = lines[0] if lines else "Hadoop gives no reason"
    message = f"rank {facts['task']} on {host or 'an unknown node'}: {first}"
    if _TOO_MUCH_MEMORY.search(words):
        message += "\n  The worker needs more than its container has: raise n_mem."
    return AttemptFailure(
        rank=facts["task"],
        attempt=str(facts["attempt"]),
        host=host,
        message=message,
        detail="\n".join(lines[-_TAIL_LINES:]),
    )


def _tail(text: str) -> str:
    return "\n".join(text.strip().splitlines()[-_TAIL_LINES:])
