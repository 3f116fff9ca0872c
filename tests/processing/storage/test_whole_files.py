import errno
import multiprocessing
import os
import resource
import signal
import socket
import stat
import tempfile
import threading
from pathlib import Path

import pytest

from argus_processing.storage.claimed_folders import LOCK_FILE, claimed_folder, entries_of, whole_folder
from argus_processing.storage.part_files import is_part, private_folder
from argus_processing.storage.whole_files import check_can_write, whole_file, write_text


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    out = tmp_path / "report.txt"
    out.write_text("old")
    with pytest.raises(RuntimeError), whole_file(out) as part:
        part.write_text("half")
        raise RuntimeError
    assert out.read_text() == "old"
    assert list(tmp_path.iterdir()) == [out]


def test_a_finished_write_replaces_the_old_file(tmp_path):
    out = tmp_path / "report.txt"
    out.write_text("old")
    write_text(out, "new é")
    assert out.read_text(encoding="utf-8") == "new é"
    assert list(tmp_path.iterdir()) == [out]


def test_a_file_keeps_who_may_read_it(tmp_path):
    out = tmp_path / "report.txt"
    out.write_text("old")
    out.chmod(0o600)
    write_text(out, "new")
    assert (out.read_text(), out.stat().st_mode & 0o777) == ("new", 0o600)


def test_a_name_as_long_as_names_may_be_is_written(tmp_path):
    for out in (tmp_path / ("r" * 251 + ".txt"), tmp_path / ("r." + "t" * 253)):
        write_text(out, "new")
        assert out.read_text() == "new"
    with pytest.raises(OSError, match="too long"):
        check_can_write(tmp_path / ("r" * 256))


def test_a_missing_folder_and_a_folder_as_file_are_refused(tmp_path):
    for write in (check_can_write, lambda out: write_text(out, "")):
        with pytest.raises(FileNotFoundError, match="does not exist"):
            write(tmp_path / "no" / "report.txt")
        with pytest.raises(IsADirectoryError, match="is a folder"):
            write(tmp_path)


@pytest.mark.parametrize("exists", [True, False], ids=["file", "nothing yet"])
def test_a_link_stays_and_its_target_is_written(tmp_path, exists):
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    target, middle, out = folder / "true.txt", tmp_path / "middle", tmp_path / "report.txt"
    if exists:
        target.write_text("old")
    middle.symlink_to("elsewhere/true.txt")
    out.symlink_to(middle)
    write_text(check_can_write(out), "new")
    assert out.is_symlink() and middle.is_symlink()
    assert target.read_text() == "new" and list(folder.iterdir()) == [target]


def test_links_in_a_circle_are_refused_by_name(tmp_path):
    out = tmp_path / "a"
    out.symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(out)
    with pytest.raises(OSError) as caught:
        check_can_write(out)
    assert (caught.value.errno, caught.value.filename) == (errno.ELOOP, str(out))


def make_device(path, kind, minor):
    try:
        os.mknod(path, kind | 0o666, os.makedev(1, minor))
        os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
    except PermissionError:
        pytest.skip("making a device node needs root, and a file system that lets it be used")


def test_a_device_is_written_through_and_stays(tmp_path):
    device = tmp_path / "null"
    make_device(device, stat.S_IFCHR, 3)
    write_text(check_can_write(device), "gone")
    assert stat.S_ISCHR(device.stat().st_mode) and list(tmp_path.iterdir()) == [device]


def test_a_full_device_is_noticed_before_the_work(tmp_path):
    device = tmp_path / "full"
    make_device(device, stat.S_IFCHR, 7)
    with pytest.raises(OSError) as caught:
        check_can_write(device)
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(device))


def test_a_disk_and_a_socket_are_refused(tmp_path):
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(tmp_path / "s"))
        with pytest.raises(ValueError, match="is a socket"):
            check_can_write(tmp_path / "s")
    try:
        os.mknod(tmp_path / "disk", stat.S_IFBLK | 0o600, os.makedev(1, 250))
    except PermissionError:
        pytest.skip("making a device node needs root")
    with pytest.raises(ValueError, match="is a disk"):
        write_text(tmp_path / "disk", "")


def test_a_pipe_is_written_through_and_stays(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    got = []
    descriptor = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    os.set_blocking(descriptor, True)
    for _ in range(2):
        check_can_write(pipe)  # which must not close it: its reader would see the end
    reader = threading.Thread(target=lambda: got.append(open(descriptor).read()))
    reader.start()
    write_text(pipe, "line\n" * 50_000)
    reader.join(10)
    assert got == ["line\n" * 50_000] and pipe.is_fifo() and list(tmp_path.iterdir()) == [pipe]


def test_a_pipe_that_nobody_reads_is_refused_at_once(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for write in (check_can_write, lambda path: write_text(path, "line")):
        with pytest.raises(OSError, match="nobody reads"):
            write(pipe)
    assert list(tmp_path.iterdir()) == [pipe]


@pytest.fixture
def forked():
    """Run a function in a child process (a fork: nothing is imported again); returns its exit status, -9 if killed."""

    def run(function, *arguments) -> int:
        child = multiprocessing.get_context("fork").Process(target=function, args=arguments)
        child.start()
        child.join(30)
        return child.exitcode

    return run


def write_to_stdout(log):
    os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT), 1)
    os.write(1, b"first\n")
    write_text(check_can_write(Path("/dev/stdout")), "second\n")
    os.write(1, b"third\n")


def test_an_open_file_by_its_number_gets_the_text_where_it_stands(tmp_path, forked):
    log = tmp_path / "log"
    log.write_text("")
    assert forked(write_to_stdout, log) == 0
    assert log.read_text().split() == ["first", "second", "third"]
    assert list(tmp_path.iterdir()) == [log]


def write_with_little_room(out, limit):
    """Of files of at most so many bytes: what a full disk or a quota does."""
    check_can_write(out)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    for write in (check_can_write, lambda out: write_text(out, "x" * 20_000)):
        try:
            write(out)
        except OSError as error:
            assert error.filename == str(out)
        else:
            assert limit > 4096 and write is check_can_write


@pytest.mark.parametrize("limit", [1024, 8192], ids=["full", "fills up"])
def test_a_disk_without_room_is_told_with_the_file_asked_for(tmp_path, forked, limit):
    assert forked(write_with_little_room, tmp_path / "report.txt", limit) == 0
    assert list(tmp_path.iterdir()) == []


def die_while_writing(folder):
    with whole_file(folder / "report.txt") as part, whole_folder(folder / "model") as half:
        part.write_text("half")
        (half / "config.json").write_text("half")
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_writes_parts_are_swept_up_and_a_live_ones_kept(tmp_path, forked):
    (tmp_path / ".argus-part-of-mine.txt").write_text("another's name")
    assert forked(die_while_writing, tmp_path) == -signal.SIGKILL
    left = {path.name for path in tmp_path.iterdir()}
    assert sum(map(is_part, left)) == 2 and not (tmp_path / "report.txt").exists()
    with whole_file(tmp_path / "other.txt") as live:
        live.write_text("other")
        write_text(tmp_path / "report.txt", "whole")
        assert [path for path in tmp_path.iterdir() if is_part(path.name)] == [live]
    with whole_folder(tmp_path / "model") as part:
        (part / "config.json").write_text("whole")
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"report.txt", "other.txt", "model", ".argus-part-of-mine.txt"}
    assert (tmp_path / "model" / "config.json").read_text() == "whole"


def hold(out, held, let_go):
    with claimed_folder(out):
        held.set()
        let_go.wait(30)


def test_one_process_at_a_time_holds_a_folder_and_a_dead_one_none(tmp_path):
    out, context = tmp_path / "out", multiprocessing.get_context("fork")
    held, let_go = context.Event(), context.Event()
    holder = context.Process(target=hold, args=(out, held, let_go))
    holder.start()
    assert held.wait(30)
    with pytest.raises(ValueError, match=rf"out: process {holder.pid} on .* is writing into it"):
        with claimed_folder(out):
            pass
    holder.kill()
    holder.join(30)
    assert (out / LOCK_FILE).exists()
    with claimed_folder(out), pytest.raises(ValueError, match=f"process {os.getpid()} "), claimed_folder(out):
        pass
    assert list(out.iterdir()) == []


def test_a_claim_names_the_folder_that_takes_no_file(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError, match="is a file"), claimed_folder(tmp_path / "file"):
        pass
    with pytest.raises(OSError, match="/proc/self: takes no file"), claimed_folder(Path("/proc/self")):
        pass


@pytest.mark.parametrize("exists", [True, False], ids=["empty", "nothing yet"])
def test_a_folder_appears_whole_or_not_at_all(tmp_path, exists):
    out = tmp_path / "model"
    if exists:
        out.mkdir()
    with pytest.raises(RuntimeError), whole_folder(out) as part:
        (part / "config.json").write_text("half")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == ([out] if exists else []) and entries_of(out) == []
    with whole_folder(out) as part:
        (part / "sub").mkdir()
        (part / "config.json").write_text("whole")
        with pytest.raises(ValueError, match=f"process {os.getpid()} "), whole_folder(out):
            pass
    assert sorted(path.name for path in out.iterdir()) == ["config.json", "sub"]
    assert list(tmp_path.iterdir()) == [out]
    with pytest.raises(ValueError, match="not an empty folder"), whole_folder(out):
        pass


def test_a_folder_may_be_named_by_a_link(tmp_path):
    (tmp_path / "true").mkdir()
    (tmp_path / "link").symlink_to("true")
    with whole_folder(tmp_path / "link") as part:
        (part / "a").write_text("whole")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "true" / "a").read_text() == "whole"


def die_in_a_private_folder(root):
    tempfile.tempdir = str(root)
    with private_folder() as folder:
        (folder / "scan.nii.gz").symlink_to("/gone")
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_process_leaves_its_private_folder_to_the_next(tmp_path, forked, monkeypatch):
    assert forked(die_in_a_private_folder, tmp_path) == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    assert stat.S_IMODE(left.stat().st_mode) == 0o700 and list(left.iterdir())
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with private_folder() as one, private_folder() as other:
        assert set(tmp_path.iterdir()) == {one, other}
    assert list(tmp_path.iterdir()) == []
