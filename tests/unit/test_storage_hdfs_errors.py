"""What hdfs-native raises, as recorded from Hadoop 3.5.0, becomes the error a caller expects."""

from __future__ import annotations

import threading
import time

import pytest

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
from harpy.storage.fs.deadline import Stalled, WatchedCall
from harpy.storage.fs.hdfs_errors import Operation, map_hdfs_error

OPERATION = Operation("write", "hdfs://nn:8020/w/f", "hdfs://nn:8020", "alice")
HADOOP = "org.apache.hadoop"


def remote(name: str, message: str) -> RuntimeError:
    return RuntimeError(f'RPCError("{name}", "{message}\\n\\tat {HADOOP}.Server.main(X.java:1)")')


@pytest.mark.parametrize(
    ("raised", "kind", "words", "transient"),
    [
        (
            remote(f"{HADOOP}.security.AccessControlException", 'inode=\\"/w\\":root'),
            StoragePermissionError,
            'as user alice: inode="/w":root',
            False,
        ),
        (
            remote(f"{HADOOP}.hdfs.protocol.NSQuotaExceededException", "quota=2 file count=3"),
            QuotaError,
            "quota=2 file count=3",
            False,
        ),
        (
            remote(f"{HADOOP}.hdfs.protocol.DSQuotaExceededException", "quota = 1 MB"),
            QuotaError,
            "hdfs dfs -count -q",
            False,
        ),
        (
            remote(
                f"{HADOOP}.hdfs.server.namenode.SafeModeException",
                "Name node is in safe mode.\\nIt was turned on manually.",
            ),
            SafeModeError,
            "turned on manually",
            False,
        ),
        (
            remote(
                f"{HADOOP}.hdfs.server.namenode.SafeModeException",
                "Name node is in safe mode.\\nThe reported blocks 0 has not reached the threshold "
                "0.9990 of total blocks 5. Safe mode will be turned off automatically once the "
                "thresholds have been reached.",
            ),
            SafeModeError,
            "has not reached the threshold",
            True,
        ),
        (
            remote(
                "java.io.IOException",
                "File /w/f could only be written to 0 of the 1 "
                "minReplication nodes. There are 1 datanode(s) running and no node(s) are "
                "excluded in this operation.",
            ),
            DiskFull,
            "no DataNode has room",
            False,
        ),
        (
            remote(
                "java.io.IOException",
                "File /w/f could only be written to 0 of the 1 "
                "minReplication nodes. There are 0 datanode(s) running and 0 node(s) are "
                "excluded in this operation.",
            ),
            FileSystemUnreachable,
            "no DataNode does",
            True,
        ),
        (
            remote(f"{HADOOP}.ipc.StandbyException", "Operation category READ is not supported"),
            FileSystemUnreachable,
            "hdfs://nn:8020 does not answer",
            True,
        ),
        (
            OSError("Connection refused (os error 111)"),
            FileSystemUnreachable,
            "cluster status",
            True,
        ),
        (OSError("RPC listener disconnected"), FileSystemUnreachable, "does not answer", True),
        (FileNotFoundError("/w/f"), PathNotFound, "/w/f", False),
        (FileExistsError("/w/f exists\n\tat X"), PathExists, "exists", False),
        (
            remote(f"{HADOOP}.fs.ParentNotDirectoryException", "/w (is not a directory)"),
            PathNotFound,
            "not a directory",
            False,
        ),
        (
            RuntimeError(
                'DataTransferError("All DataNodes failed: [DatanodeInfoProto { id: DatanodeIdProto '
                '{ ip_addr: \\"10.0.0.9\\", host_name: \\"h\\", xfer_port: 9866 } }]")'
            ),
            FileSystemUnreachable,
            "10.0.0.9:9866",
            True,
        ),
        (
            RuntimeError('GSSAPIError(GSS_S_NO_CRED, 0, "No Kerberos credentials available")'),
            StoragePermissionError,
            "kinit",
            False,
        ),
        # FSNamesystem.recoverLeaseInternal
        (
            remote(
                f"{HADOOP}.hdfs.protocol.AlreadyBeingCreatedException",
                "Failed to CREATE_FILE /w/f for DFSClient_NONMAPREDUCE_60_1 on 10.0.0.1 because "
                "this file lease is currently owned by DFSClient_NONMAPREDUCE_56_1 on 10.0.0.2",
            ),
            LeaseConflict,
            "hdfs debug recoverLease",
            False,
        ),
        (
            remote(
                f"{HADOOP}.hdfs.protocol.RecoveryInProgressException",
                "Failed to APPEND_FILE /w/f for DFSClient_1 on 10.0.0.1 because lease recovery is "
                "in progress. Try again later.",
            ),
            LeaseConflict,
            "lease recovery is in progress",
            False,
        ),
        # FSNamesystem.checkLease
        (
            remote(
                f"{HADOOP}.hdfs.server.namenode.LeaseExpiredException",
                "Client (=DFSClient_1) is not the lease owner (=DFSClient_2): /w/f (inode 16404) "
                "Holder DFSClient_1 does not have any open files.",
            ),
            LeaseConflict,
            "is not the lease owner",
            False,
        ),
        (
            FileNotFoundError(
                "File does not exist: /w/f (inode 16404) Holder DFSClient_1 does not have any open "
                "files.\n\tat org.apache.hadoop.hdfs.server.namenode.FSNamesystem.checkLease",
            ),
            LeaseConflict,
            "has taken or removed it",
            False,
        ),
        # AbstractDelegationTokenSecretManager.checkToken
        (
            remote(
                f"{HADOOP}.security.token.SecretManager$InvalidToken",
                "token (token for alice: HDFS_DELEGATION_TOKEN owner=alice, renewer=yarn, realUser="
                ", issueDate=1795253441560, maxDate=1795858241560, sequenceNumber=7, masterKeyId=2)"
                " can't be found in cache",
            ),
            TokenExpired,
            "dfs.namenode.delegation.token.max-lifetime",
            False,
        ),
        (
            RuntimeError(
                f'FatalRPCError("{HADOOP}.security.token.SecretManager$InvalidToken", '
                '"token (HDFS_DELEGATION_TOKEN token 7 for alice) has expired, current time: 2026")'
            ),
            TokenExpired,
            "has expired",
            False,
        ),
        (RuntimeError("something new"), StorageError, "something new", False),
    ],
)
def test_native_errors_are_mapped(
    raised: Exception, kind: type[StorageError], words: str, transient: bool
) -> None:
    failure = map_hdfs_error(raised, OPERATION)
    assert type(failure.error) is kind
    assert failure.transient is transient
    text = str(failure.error)
    assert text.startswith("cannot write hdfs://nn:8020/w/f as user alice: ")
    assert words in text
    assert "at org.apache" not in text
    assert failure.error.path == "hdfs://nn:8020/w/f"


def test_hanging_call_is_given_up_and_told_so() -> None:
    released, saw = threading.Event(), []

    def hang(watch: WatchedCall[None]) -> None:
        released.wait(20)
        saw.append(watch.abandoned)

    began = time.monotonic()
    with pytest.raises(Stalled):
        WatchedCall(hang).result(0.1)
    assert time.monotonic() - began < 10
    released.set()
    deadline = time.monotonic() + 10
    while not saw and time.monotonic() < deadline:
        time.sleep(0.01)
    assert saw == [True]


def test_call_that_moves_is_waited_for() -> None:
    def slow(watch: WatchedCall[str]) -> str:
        for _ in range(6):
            time.sleep(0.1)
            watch.progressed()
        return "done"

    assert WatchedCall(slow).result(0.5) == "done"
