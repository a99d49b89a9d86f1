"""Every error harpy raises on purpose. Each is a HarpyError and also the builtin a caller expects.

HarpyError
├── ConfigError             ValueError       a setting is missing, malformed or contradicts another
│   ├── HadoopNotFound                       no Hadoop client, or no configuration
│   └── JavaNotFound                         no JDK/JRE, or one that is too old
├── DataError               ValueError       the input cannot be clustered, read or staged
├── StorageError            OSError          a file system said no
│   ├── FileSystemUnreachable ConnectionError  the NameNode does not answer
│   ├── StoragePermissionError PermissionError not allowed to read or write there
│   ├── PathNotFound        FileNotFoundError
│   ├── PathExists          FileExistsError
│   ├── SafeModeError                        HDFS is read-only for now
│   ├── QuotaError                           over the directory's quota
│   ├── DiskFull                             no space left: here, on a node, or on the DataNodes
│   ├── LeaseConflict                        somebody else writes, or has taken, that very file
│   └── TokenExpired                         the job's Hadoop token is no longer accepted
├── LaunchError             RuntimeError     workers could not be started
│   ├── ClusterUnreachable  ConnectionError  the ResourceManager does not answer
│   ├── DemandRefused       ValueError       can never fit: says asked, available, which limit
│   ├── JobStateUnknown                      nobody can say whether the job runs
│   ├── SubmissionRefused                    Hadoop refused the job, in Hadoop's words
│   │   └── QueueStopped                     the queue takes no applications
│   ├── LocalizationFailed                   a node could not fetch the files of the job
│   ├── MasterLost                           the application master died as often as it may
│   │   └── MasterMemoryExceeded MemoryError   killed for more memory than its container has
│   └── InterpreterMissing  FileNotFoundError  the Python of the workers, on which node, as whom
├── GangError               RuntimeError     the workers could not work together
│   ├── RendezvousTimeout   TimeoutError     who is missing, after how long
│   ├── AuthenticationError PermissionError  a stranger, or a wrong secret
│   ├── ProtocolError                        a malformed or unexpected message
│   └── PeerLost            ConnectionError  an echo: some other worker went first
├── RunError                RuntimeError     a run failed: rank, host and first cause
│   ├── ProgramFailed                        the program raised
│   ├── WorkerLost                           a worker process ended without a word
│   │   ├── MemoryExceeded  MemoryError        the node manager killed it: more than n_mem
│   │   ├── WorkerKilled                     by SIGKILL: mostly its machine was out of memory
│   │   ├── Preempted                        the scheduler took its container for another queue
│   │   ├── NodeLost                         its node, or the node's manager, is gone
│   │   └── PeerUnreachable                  its host cannot reach that of rank 0, which lives
│   └── RunTimeout          TimeoutError
├── SessionClosed           RuntimeError     used after close, or ended by idle deadline
├── JobKilled               RuntimeError     somebody killed the job
├── JobNotFound             LookupError
└── ClusterError            RuntimeError     the embedded cluster did not start or stop
"""

from __future__ import annotations


class HarpyError(Exception):
    """Base of all errors raised by harpy; `exit_code` is what the command line returns for it.

    Where the cause was a worker, `rank` and `host` say which, and `detail` holds its traceback or
    the end of its log. `replaceable`: what happened to that worker need not happen to another in
    its place.
    """

    exit_code = 1
    replaceable = False
    rank: int | None = None
    host: str | None = None
    detail: str = ""


class ConfigError(HarpyError, ValueError):
    exit_code = 2


class HadoopNotFound(ConfigError):
    pass


class JavaNotFound(ConfigError):
    pass


class DataError(HarpyError, ValueError):
    exit_code = 2


class StorageError(HarpyError, OSError):
    """A file system operation failed. `path` is the URL it was about."""

    exit_code = 3

    def __init__(self, message: str, *, path: str | None = None) -> None:
        super().__init__(message)
        self.path = path


class FileSystemUnreachable(StorageError, ConnectionError):
    pass


class StoragePermissionError(StorageError, PermissionError):
    pass


class PathNotFound(StorageError, FileNotFoundError):
    pass


class PathExists(StorageError, FileExistsError):
    pass


class SafeModeError(StorageError):
    pass


class QuotaError(StorageError):
    pass


class DiskFull(StorageError):
    pass


class LeaseConflict(StorageError):
    pass


class TokenExpired(StoragePermissionError):
    pass


class LaunchError(HarpyError, RuntimeError):
    exit_code = 4


class ClusterUnreachable(LaunchError, ConnectionError):
    pass


class DemandRefused(LaunchError, ValueError):
    pass


class JobStateUnknown(LaunchError):
    """The ResourceManager does not know the job, or does not answer; nothing of it is removed."""


class SubmissionRefused(LaunchError):
    pass


class QueueStopped(SubmissionRefused):
    pass


class LocalizationFailed(LaunchError):
    pass


class MasterLost(LaunchError):
    pass


class MasterMemoryExceeded(MasterLost, MemoryError):
    pass


class InterpreterMissing(LaunchError, FileNotFoundError):
    pass


class GangError(HarpyError, RuntimeError):
    exit_code = 5


class RendezvousTimeout(GangError, TimeoutError):
    """The gang was not complete in time. `missing` holds the ranks that never came."""

    def __init__(self, message: str, *, missing: tuple[int, ...] = ()) -> None:
        super().__init__(message)
        self.missing = missing


class AuthenticationError(GangError, PermissionError):
    pass


class ProtocolError(GangError):
    pass


class PeerLost(GangError, ConnectionError):
    """Another worker is gone or gave up; never the first cause. `rank` is the peer, if known."""

    def __init__(self, message: str, *, rank: int | None = None) -> None:
        super().__init__(message)
        self.rank = rank


class RunError(HarpyError, RuntimeError):
    """A run failed; its first cause is in `rank`, `host` and `detail`."""

    exit_code = 6

    def __init__(
        self, message: str, *, rank: int | None = None, host: str | None = None, detail: str = ""
    ) -> None:
        super().__init__(message)
        self.rank = rank
        self.host = host
        self.detail = detail


class ProgramFailed(RunError):
    pass


class WorkerLost(RunError):
    replaceable = True


class MemoryExceeded(WorkerLost, MemoryError):
    replaceable = False  # another in its place would grow as large


class WorkerKilled(WorkerLost):
    pass


class Preempted(WorkerLost):
    pass


class NodeLost(WorkerLost):
    pass


class PeerUnreachable(WorkerLost):
    pass


class RunTimeout(RunError, TimeoutError):
    pass


class SessionClosed(HarpyError, RuntimeError):
    exit_code = 6


class JobKilled(HarpyError, RuntimeError):
    exit_code = 7


class JobNotFound(HarpyError, LookupError):
    exit_code = 8


class ClusterError(HarpyError, RuntimeError):
    exit_code = 9
