"""Turns what Hadoop says about a failed attempt into an AttemptFailure for people. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from harpy.launch.base import AttemptFailure
from harpy.launch.endings import ending, kind_of_ending
from harpy.launch.yarn.causes import lost_worker, without_java
from harpy.wire.failure import Failure

_MARK = re.compile(r"harpy-failure (\{.*\})\s*$", re.MULTILINE)
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
    ended = Failure(
        kind="InterpreterMissing" if _cannot_import(told) else _kind(told),
        message=f"rank {told['rank']} on {told['host']} {_how_it_ended(told)}",
        rank=told["rank"],
        host=told["host"],
        detail=_tail(told["stderr"]),
        echo=told["echo"],
    )
    return AttemptFailure(told["attempt"], ended)


def attempt_taken_back(facts: Mapping[str, Any]) -> AttemptFailure | None:
    """Return what one `attempt_killed` event of the submitter means, with facts as above: the loss
    of a worker that the cluster took back. None where the master ended it for another reason, as it
    ends all workers with the job."""
    failure = _hadoops_own(facts, str(facts.get("diagnostics") or "").strip())
    return failure if failure.taken_back else None


def _workers_own(told: Mapping[str, Any]) -> AttemptFailure:
    """The failure that the worker itself reported before it ended."""
    unsaid = Failure(
        kind="WorkerLost",
        message="",
        rank=told["rank"],
        host=told["host"],
        detail=_tail(told["stderr"]),
        echo=told["echo"],
    )
    return AttemptFailure(told["attempt"], Failure.from_line(told["error"], unsaid))


def _interpreter_missing(told: Mapping[str, Any]) -> AttemptFailure:
    reason = str(told["message"])
    for javas in (r'^Cannot run program "[^"]*"( \(in directory "[^"]*"\))?: ', r"^error=\d+, "):
        reason = re.sub(javas, "", reason)
    message = (
        f"the workers' Python {told['python']} does not start on node {told['host']} "
        f"for unix user {told['user']}: {reason}.\n"
        "  It must lie at the same path on every node, and that user must be allowed into "
        "every folder above it (an environment below a private home is not)."
    )
    missing = Failure("InterpreterMissing", message, told["rank"], told["host"])
    return AttemptFailure(told["attempt"], missing)


def _cannot_import(told: Mapping[str, Any]) -> bool:
    return not told["greeted"] and "No module named" in told["stderr"]


def _kind(told: Mapping[str, Any]) -> str:
    return "WorkerLost" if told["killed_because"] else kind_of_ending(_code(told))


def _code(told: Mapping[str, Any]) -> int:
    """The exit code; a signal n, which a shell or a JVM tells as 128 + n, as -n."""
    code = int(told["exit_code"])
    return _SIGNALLED - code if code > _SIGNALLED else code


def _how_it_ended(told: Mapping[str, Any]) -> str:
    if told["killed_because"]:
        return str(told["killed_because"])
    if _cannot_import(told):
        return f"cannot import harpy: {told['python']} on that node is not the driver's environment"
    return ending(_code(told), "" if told["greeted"] else " before its first word")


def _hadoops_own(facts: Mapping[str, Any], words: str) -> AttemptFailure:
    """The failure of a container that was killed or never ran, by Hadoop's own words."""
    host = str(facts.get("node") or "").removeprefix("http://").split(":")[0]
    kind, message = lost_worker(facts["task"], host, words)
    failure = Failure(kind.__name__, message, facts["task"], host, _tail(without_java(words)))
    return AttemptFailure(str(facts["attempt"]), failure)


def _tail(text: str) -> str:
    return "\n".join(text.strip().splitlines()[-_TAIL_LINES:])
