"""Maps the submitting JVM's `error` events and its end to harpy's errors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from harpy.config import HadoopConf
from harpy.errors import (
    ClusterUnreachable,
    HarpyError,
    JavaNotFound,
    JobNotFound,
    LaunchError,
    SubmissionRefused,
)
from harpy.launch.yarn.causes import refused

# The class file version of Java 8 is 52, of Java 17 it is 61.
_CLASS_FILE_OFFSET = 44


def launch_error(facts: Mapping[str, Any], conf: HadoopConf) -> HarpyError:
    """Return what one `error` event means."""
    kind, message = facts["kind"], str(facts["message"])
    if kind == "ClusterUnreachable":
        return ClusterUnreachable(f"{no_answer(conf)}\n  Hadoop says: {message}")
    if kind == "JobNotFound":
        return JobNotFound(message)
    if kind == "SubmissionRefused":
        return refused(message) or SubmissionRefused(f"Hadoop refused the job: {message}")
    return LaunchError(message)


def no_answer(conf: HadoopConf) -> str:
    """The resource manager does not answer: which one, why likely, what to do next."""
    return (
        f"the ResourceManager at {resource_manager(conf)} does not answer.\n"
        f"  Is it running, and is this its address (from {conf.directory}/yarn-site.xml)?\n"
        "  For a cluster on this machine: harpy cluster status"
    )


def resource_manager(conf: HadoopConf) -> str:
    """Where the configuration says the resource manager is."""
    host = conf.get("yarn.resourcemanager.hostname", "0.0.0.0")
    pair = conf.get("yarn.resourcemanager.ha.rm-ids", "").split(",")
    hosts = [conf.get(f"yarn.resourcemanager.hostname.{i.strip()}", i) for i in pair if i.strip()]
    return ", ".join(hosts) or conf.get("yarn.resourcemanager.address", f"{host}:8032")


def jvm_died(facts: Mapping[str, Any], application_id: str | None) -> HarpyError:
    """Return why the submitting JVM ended by itself; `facts` are those of its `exit` event."""
    lines = list(facts["stderr"])
    text = "\n".join(lines)
    old = re.search(r"class file version (\d+)\.\d+.*up to (\d+)", text, re.DOTALL)
    if "UnsupportedClassVersionError" in text and old:
        needed, found = (int(v) - _CLASS_FILE_OFFSET for v in old.groups())
        return JavaNotFound(
            f"this Hadoop client needs Java {needed}, found Java {found}.\n"
            f"  Point JAVA_HOME at a Java {needed} or newer."
        )
    left = f"; {application_id} goes on without it (harpy kill ends it)" if application_id else ""
    tail = "\n  ".join(lines[-10:])
    return LaunchError(f"the submitting JVM ended with code {facts['code']}{left}.\n  {tail}")
