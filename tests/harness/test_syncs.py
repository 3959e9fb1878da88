"""What strace prints of a node, read: which syncs were those of a text, and when they had returned."""

import pytest

from workqueue.guarantee.syncs import Trace

WAL, OTHER = "/node/quorum/00000001.wal", "/node/msg_stores/0.rdq"


def trace(*lines):
    return Trace.read(f"4711  17.{number:06} {line}" for number, line in enumerate(lines))


def wrote(text, file=WAL):
    return f'writev(9<{file}>, [{{iov_base="\\0\\1{text}", iov_len=9}}], 1) = 9 <0.000100>'


def test_a_sync_of_the_file_that_has_the_text_is_one_of_it():
    [sync] = trace(wrote("a task"), f"fdatasync(9<{WAL}>) = 0 <0.500000>").syncs_of("a task")

    assert sync.at == pytest.approx(17.500001)  # when it had returned, not when it began


@pytest.mark.parametrize(
    "lines",
    [
        [wrote("another"), f"fdatasync(9<{WAL}>) = 0 <0.000100>"],
        [wrote("a task", OTHER), f"fdatasync(9<{WAL}>) = 0 <0.000100>"],
        [f"fdatasync(9<{WAL}>) = 0 <0.000100>", wrote("a task")],
        [wrote("a task"), f"fsync(9<{WAL}>) = -1 EIO (Input/output error) <0.000100>"],
        [wrote("a task").replace("= 9", "= -1 ENOSPC (No space left on device)"), f"fsync(9<{WAL}>) = 0 <0.000100>"],
        [wrote("a task"), f"fsync(9<{WAL}> <unfinished ...>"],
        [wrote("a task"), f"fsync(9<{WAL}> <unfinished ...>", "<... fsync resumed>) = ?"],
        [wrote("a task"), f"fsync(9<{WAL}> <unfinished ...>", "<... fsync resumed>) = -1 EIO (an error) <0.000100>"],
        [wrote("a task").replace(WAL, "socket:[17]"), "fsync(9<socket:[17]>) = 0 <0.000100>"],
    ],
)
def test_what_is_no_sync_of_the_text(lines):
    assert trace(*lines).syncs_of("a task") == []


def test_a_sync_that_another_thread_came_between_is_one_when_it_has_returned():
    seen = Trace.read(
        [
            f'12 17.000000 pwrite64(9<{WAL}>, "a task", 6, 0 <unfinished ...>',
            "13 17.100000 <... fsync resumed>) = 0 <0.900000>",  # begun before strace came
            f"13 17.200000 fsync(7<{OTHER}> <unfinished ...>",
            "12 17.300000 <... pwrite64 resumed>) = 6 <0.300000>",
            f"12 17.400000 fdatasync(9<{WAL}> <unfinished ...>",
            "13 17.500000 <... fsync resumed>) = 0 <0.300000>",
            "12 17.600000 <... fdatasync resumed>) = 0 <0.200000>",
        ]
    )

    assert [(sync.file, sync.at) for sync in seen.syncs] == [(OTHER, 17.5), (WAL, 17.6)]
    assert [sync.at for sync in seen.syncs_of("a task")] == [17.6]


def test_a_sync_that_began_while_the_text_was_being_written_may_not_cover_it():
    seen = Trace.read(
        [
            f'12 17.000000 write(9<{WAL}>, "a task", 6 <unfinished ...>',
            f"13 17.100000 fsync(9<{WAL}>) = 0 <0.000100>",
            "12 17.300000 <... write resumed>) = 6 <0.300000>",
        ]
    )

    assert seen.syncs_of("a task") == []
