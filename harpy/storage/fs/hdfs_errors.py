"""Maps hdfs-native's exceptions to harpy's errors.

hdfs-native 0.14 raises builtins for a few cases and otherwise RuntimeError whose text is the debug
form of its Rust error, e.g. `RPCError("org.apache.hadoop.…Exception", "message\\n\\tat …")`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from harpy.errors import (
    DiskFull,
    FileSystemUnreachable,
    LeaseConflict,
    PathExists,
    PathNotFound,
    QuotaError,
    SafeModeError,
    StorageError,
    StoragePermissionError,
    TokenExpired,
)

_REMOTE = re.compile(r'(?:Fatal)?RPCError\("(?P<name>[\w.$]+)", "(?P<text>.*)"\)', re.DOTALL)
_VARIANT = re.compile(r'(?P<name>\w+)\((?:"(?P<text>.*)"|.*)\)', re.DOTALL)
_DATANODE = re.compile(r'ip_addr: "([^"]+)".*?xfer_port: (\d+)')

# Short names of Hadoop's exceptions, whose first line then goes into the message.
_BY_REMOTE_CLASS: dict[str, type[StorageError]] = {
    "AccessControlException": StoragePermissionError,
    "AuthorizationException": StoragePermissionError,
    "InvalidToken": TokenExpired,
    "SafeModeException": SafeModeError,
    "NSQuotaExceededException": QuotaError,
    "DSQuotaExceededException": QuotaError,
    "QuotaByStorageTypeExceededException": QuotaError,
    "QuotaExceededException": QuotaError,
    "FileNotFoundException": PathNotFound,
    "ParentNotDirectoryException": PathNotFound,
    "FileAlreadyExistsException": PathExists,
    "AlreadyBeingCreatedException": LeaseConflict,
    "RecoveryInProgressException": LeaseConflict,
    "LeaseExpiredException": LeaseConflict,
    "PathIsNotEmptyDirectoryException": PathExists,
    "StandbyException": FileSystemUnreachable,
    "RetriableException": FileSystemUnreachable,
    "ObserverRetryOnActiveException": FileSystemUnreachable,
}

# Words of the operating system and of hdfs-native's connection code in a plain OSError.
_UNREACHABLE = (
    "connection refused",
    "connection reset",
    "connection aborted",
    "broken pipe",
    "not connected",
    "network is unreachable",
    "no route to host",
    "timed out",
    "failed to lookup address",
    "rpc listener disconnected",
    "early eof",
    "unexpected end of file",
)

_ADVICE: dict[type[StorageError], str] = {
    SafeModeError: "wait until it leaves safe mode, or: hdfs dfsadmin -safemode get",
    QuotaError: "a file being written counts as a whole block; remove files there, or ask for "
    "more: hdfs dfs -count -q -h -v <directory>",
    DiskFull: "free space on the DataNodes: hdfs dfsadmin -report",
    LeaseConflict: "somebody else writes that file, or has taken or removed it; a writer that died "
    "holds it for a minute: hdfs debug recoverLease -path <file>",
    TokenExpired: "the job's HDFS token is no longer valid: it was cancelled, or the job is older "
    "than dfs.namenode.delegation.token.max-lifetime (7 days); start it anew",
    FileSystemUnreachable: "is HDFS up? harpy cluster status, or: hdfs dfsadmin -report",
}


@dataclass(frozen=True)
class Failure:
    """A mapped error, and whether trying again soon may help."""

    error: StorageError
    transient: bool
    reason: str = ""  # the system's message, where `error` may name the wrong daemon


@dataclass(frozen=True)
class Operation:
    """What was being done when hdfs-native raised."""

    verb: str  # "read", "make directory", …
    url: str
    address: str  # hdfs://host:port
    user: str

    def failed(self, kind: type[StorageError], reason: str, advice: str = "") -> StorageError:
        """The error of this operation in harpy's words."""
        message = f"cannot {self.verb} {self.url} as user {self.user}: {reason}"
        advice = advice or _ADVICE.get(kind, "")
        return kind(f"{message}\n  {advice}" if advice else message, path=self.url)


def map_hdfs_error(exc: BaseException, operation: Operation) -> Failure:
    """Translate whatever hdfs-native raised during `operation`."""
    text = _first_line(str(exc))
    if isinstance(exc, FileNotFoundError) and " Holder " in text:  # FSNamesystem.checkLease
        return Failure(operation.failed(LeaseConflict, text), False)
    if isinstance(exc, FileNotFoundError):
        return Failure(operation.failed(PathNotFound, text or "no such file"), False)
    if isinstance(exc, FileExistsError):
        return Failure(operation.failed(PathExists, text or "it exists already"), False)
    if remote := _REMOTE.search(str(exc)):
        name = remote["name"].rpartition(".")[2].rpartition("$")[2]
        return _remote_failure(name, _first_line(_unescape(remote["text"])), operation)
    if isinstance(exc, OSError) and any(word in text.lower() for word in _UNREACHABLE):
        return _unreachable(operation, text)
    if variant := _VARIANT.fullmatch(str(exc)):
        return _client_failure(variant, operation)
    return Failure(operation.failed(StorageError, text or type(exc).__name__), False)


def _remote_failure(name: str, text: str, operation: Operation) -> Failure:
    """Hadoop answered with an exception of class `name`."""
    if "SafeModeException" in text:  # wrapped in a RetriableException
        name = "SafeModeException"
    kind = _BY_REMOTE_CLASS.get(name)
    if kind is FileSystemUnreachable:
        return _unreachable(operation, f"{name}: {text}")
    if kind is SafeModeError:
        # After a start the NameNode leaves by itself once it knows enough blocks.
        automatic = "turned off automatically" in text or "not reached the threshold" in text
        return Failure(operation.failed(SafeModeError, text), automatic)
    if kind is not None:
        return Failure(operation.failed(kind, text), False)
    if "could only be written to" in text:
        # Nodes that run but were not chosen, or that refused the block, are full as a rule.
        if "There are 0 datanode(s) running" in text:
            return datanode_failure(operation, text)
        return Failure(operation.failed(DiskFull, f"no DataNode has room: {text}"), False)
    return Failure(operation.failed(StorageError, f"{name}: {text}"), False)


def _client_failure(variant: re.Match[str], operation: Operation) -> Failure:
    """Map an error of hdfs-native itself, without an answer from Hadoop."""
    name, text = variant["name"], _first_line(_unescape(variant["text"] or variant[0]))
    if name in ("SASLError", "GSSAPIError", "NoSASLMechanism"):
        advice = "a Kerberos ticket may be missing: klist, kinit"
        return Failure(operation.failed(StoragePermissionError, f"{name}: {text}", advice), False)
    if name in ("DataTransferError", "BlocksNotFound"):
        nodes = ", ".join(f"{m[1]}:{m[2]}" for m in _DATANODE.finditer(text))
        text = text.partition("[")[0] + nodes if nodes else text
        return datanode_failure(operation, text)
    return Failure(operation.failed(StorageError, f"{name}: {text}"), False)


def _unreachable(operation: Operation, text: str) -> Failure:
    return Failure(
        operation.failed(
            FileSystemUnreachable, f"the NameNode at {operation.address} does not answer ({text})"
        ),
        True,
        text,
    )


def datanode_failure(operation: Operation, text: str) -> Failure:
    """The NameNode answers, but no DataNode took or gave the bytes."""
    reason = f"the NameNode answers, but no DataNode does ({text})"
    return Failure(operation.failed(FileSystemUnreachable, reason), True)


def _unescape(text: str) -> str:
    return text.replace("\\n", "\n").replace("\\t", "\t").replace('\\"', '"').replace("\\'", "'")


def _first_line(text: str) -> str:
    """Hadoop's message on one line, without the Java stack trace."""
    return " ".join(re.split(r"\n\s*at ", text, maxsplit=1)[0].split())
