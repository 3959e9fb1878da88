"""Where a report is written to: a file is replaced, a link followed, and what is no regular file stays what it is."""

import json
import os
import resource
import stat
import threading
from pathlib import Path

import pytest

from workqueue.report.writing import can_be_replaced, check_writable, discard, write_json, write_text


def write(path, text="a report\n"):
    """Check the place and write to it, as commands do."""
    check_writable(path)
    write_text(text, path)


@pytest.fixture
def fifo(tmp_path):
    """A FIFO, and a thread that has read it to its end once it is joined."""
    path, read = tmp_path / "fifo", []
    os.mkfifo(path)
    reader = threading.Thread(target=lambda: read.append(path.read_text()), daemon=True)
    reader.start()
    return path, reader, read


def test_a_file_is_replaced_as_a_whole(tmp_path):
    path = tmp_path / "report.json"
    path.write_text("an earlier one, which is longer than what comes now")
    with path.open() as earlier:
        check_writable(path)
        write_json({"ü": 1}, path)

        assert earlier.read().startswith("an earlier one")  # whoever reads it has one or the other
    assert json.loads(path.read_text()) == {"ü": 1}
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("content", ["an earlier one", None], ids=["target", "no-target-yet"])
def test_the_target_of_a_link_is_written_and_the_link_stays(tmp_path, content):
    target, link, second = tmp_path / "folder" / "target.md", tmp_path / "link.md", tmp_path / "second.md"
    target.parent.mkdir()
    if content is not None:
        target.write_text(content)
    link.symlink_to("folder/target.md")
    second.symlink_to("link.md")

    write(second)

    assert second.is_symlink()
    assert link.is_symlink()
    assert target.read_text() == "a report\n"
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize("linked", [False, True])
def test_a_fifo_gets_it_all_and_stays_a_fifo(fifo, tmp_path, linked):
    path, reader, read = fifo
    place = tmp_path / "link" if linked else path
    if linked:
        place.symlink_to(path)

    write(place)

    reader.join(10)
    assert read == ["a report\n"]
    assert stat.S_ISFIFO(path.stat().st_mode)
    assert place.is_symlink() is linked


@pytest.mark.parametrize("folder", ["/dev/fd", "/proc/self/fd"])
def test_a_pipe_that_is_open_is_written_to(folder, tmp_path):
    read, written = os.pipe()  # a shell's >(command)
    link = tmp_path / "link"
    link.symlink_to(f"{folder}/{written}")  # as /dev/stdout is one
    with os.fdopen(read) as reader, os.fdopen(written, "w"):
        write(Path(f"{folder}/{written}"), "one\n")
        write(link, "two\n")

        assert [reader.readline(), reader.readline()] == ["one\n", "two\n"]
    assert link.is_symlink()


def test_a_file_that_is_open_is_written_on_where_it_is(tmp_path):
    path = tmp_path / "output"
    with path.open("w") as output:
        output.write("a line before\n")
        output.flush()
        write(Path(f"/dev/fd/{output.fileno()}"))
        output.write("a line after\n")

    assert path.read_text() == "a line before\na report\na line after\n"


def test_only_a_file_is_discarded_and_not_the_link_to_it(tmp_path):
    file, link, pipe = tmp_path / "file", tmp_path / "link", tmp_path / "pipe"
    file.write_text("an earlier one")
    link.symlink_to(file)
    os.mkfifo(pipe)

    discard(link)
    discard(link)  # there is nothing any more, which is as well
    discard(pipe)

    assert not file.exists()
    assert link.is_symlink()
    assert pipe.is_fifo()
    assert can_be_replaced(link)
    assert not can_be_replaced(pipe)


def test_what_is_open_is_not_discarded(tmp_path):
    with (tmp_path / "output").open("w") as output:
        path = Path(f"/dev/fd/{output.fileno()}")
        discard(path)
        assert path.exists()
        assert not can_be_replaced(path)


@pytest.mark.parametrize("path", ["/nowhere/at/all/report.json", "/"])
def test_a_place_that_cannot_be_written_to_is_found_out_before_the_run(path):
    with pytest.raises(OSError, match=r".+"):
        check_writable(Path(path))


def test_so_are_a_link_to_itself_and_what_is_open_for_reading(tmp_path):
    link, file = tmp_path / "link", tmp_path / "file"
    link.symlink_to("link")
    file.write_text("")

    with pytest.raises(OSError, match="symbolic links"):
        check_writable(link)
    with file.open() as reader, pytest.raises(PermissionError):
        check_writable(Path(f"/dev/fd/{reader.fileno()}"))


def test_what_cannot_be_written_to_its_end_leaves_what_was_there_and_nothing_else(tmp_path):
    path = tmp_path / "report.json"
    write(path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))  # the kernel refuses more, as on a full disk
    try:
        with pytest.raises(OSError, match="File too large"):
            write_text("more than fits\n" * 100, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    assert path.read_text() == "a report\n"
    assert list(tmp_path.iterdir()) == [path]
