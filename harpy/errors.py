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
│   ├── RendezvousTimeout   TimeoutError     which ranks are missing, after how long
│   ├── AuthenticationError PermissionError  no proof that the other end knows the secret
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
    the end of its log. `replaceable`: another attempt of that worker may
    succeed.
    """

    exit_code = 1
    replaceable = False
    rank: int | None = None
    host: str | None = None
    detail: str = ""


class ConfigError(HarpyError, ValueError):
    """A setting is missing, malformed or contradicts another."""

    exit_code = 2


class HadoopNotFound(ConfigError):
    """There is no Hadoop client on this machine, or no configuration of a cluster."""


class JavaNotFound(ConfigError):
    """There is no Java, or one that is too old."""


class DataError(HarpyError, ValueError):
    """The input cannot be clustered, read or staged."""

    exit_code = 2


class StorageError(HarpyError, OSError):
    """A file system operation failed. `path` is the URL it was about."""

    exit_code = 3

    def __init__(self, message: str, *, path: str | None = None) -> None:
        super().__init__(message)
        self.path = path


class FileSystemUnreachable(StorageError, ConnectionError):
    """The NameNode, or every DataNode of a block, does not answer."""


class StoragePermissionError(StorageError, PermissionError):
    """The user may not read or write there."""


class PathNotFound(StorageError, FileNotFoundError):
    """There is no such file or directory."""


class PathExists(StorageError, FileExistsError):
    """A file or directory of that name exists already."""


class SafeModeError(StorageError):
    """HDFS is read-only for now."""


class QuotaError(StorageError):
    """The directory's quota of names or of space is used up."""


class DiskFull(StorageError):
    """No space is left: on this machine, on a node, or on the DataNodes."""


class LeaseConflict(StorageError):
    """Another client writes that very file, or has taken it."""


class TokenExpired(StoragePermissionError):
    """HDFS no longer accepts the job's Hadoop token."""


class LaunchError(HarpyError, RuntimeError):
    """The workers could not be started."""

    exit_code = 4


class ClusterUnreachable(LaunchError, ConnectionError):
    """The ResourceManager does not answer."""


class DemandRefused(LaunchError, ValueError):
    """The cluster can never meet the demand; the message has the numbers and the limit."""


class JobStateUnknown(LaunchError):
    """The ResourceManager does not know the job, or does not answer; nothing of it is removed."""


class SubmissionRefused(LaunchError):
    """Hadoop refused the job; the message has Hadoop's own words."""


class QueueStopped(SubmissionRefused):
    """The queue takes no applications."""


class LocalizationFailed(LaunchError):
    """A node could not fetch the files of the job."""


class MasterLost(LaunchError):
    """The application master was lost as often as YARN restarts it."""


class MasterMemoryExceeded(MasterLost, MemoryError):
    """The application master took more memory than its container has."""


class InterpreterMissing(LaunchError, FileNotFoundError):
    """A node has no Python at the workers' path, or its user may not execute it."""


class GangError(HarpyError, RuntimeError):
    """The workers could not work together."""

    exit_code = 5


class RendezvousTimeout(GangError, TimeoutError):
    """The gang was not complete in time. `missing` holds the ranks that never came."""

    def __init__(self, message: str, *, missing: tuple[int, ...] = ()) -> None:
        super().__init__(message)
        self.missing = missing


class AuthenticationError(GangError, PermissionError):
    """The other end of a connection did not prove that it knows the session's secret."""


class ProtocolError(GangError):
    """A message is malformed or unexpected."""


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
    """The program raised."""


class WorkerLost(RunError):
    """A worker's process ended without saying why."""

    replaceable = True


class MemoryExceeded(WorkerLost, MemoryError):
    """The node manager killed a worker that took more memory than its container has."""

    replaceable = False  # another attempt would need as much


class WorkerKilled(WorkerLost):
    """SIGKILL ended a worker; as a rule its machine was out of memory."""


class Preempted(WorkerLost):
    """The scheduler took the worker's container for another queue or user."""


class NodeLost(WorkerLost):
    """The worker's node, or the manager of that node, is gone."""


class PeerUnreachable(WorkerLost):
    """The worker's host cannot reach the host of rank 0, which is alive."""


class RunTimeout(RunError, TimeoutError):
    """The run, or a collective call in it, passed its deadline."""


class SessionClosed(HarpyError, RuntimeError):
    """The session was used after it was closed, or after its idle deadline ended it."""

    exit_code = 6


class JobKilled(HarpyError, RuntimeError):
    """A person or the cluster killed the job."""

    exit_code = 7


class JobNotFound(HarpyError, LookupError):
    """There is no job of that id."""

    exit_code = 8


class ClusterError(HarpyError, RuntimeError):
    """The embedded cluster did not start or stop."""

    exit_code = 9
