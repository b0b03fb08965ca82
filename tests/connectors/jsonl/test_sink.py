"""A results file holds what the ledger recorded, or the run ends with the reason."""

import errno
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatcher.connectors.jsonl.sink import TAIL_BYTES, JsonlFile
from dispatcher.errors import ConfigError, StateError
from dispatcher.flow.content import ChangedError
from dispatcher.ledger.operations import SinkMark


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "new" / "folder" / "out.jsonl")


def new(path: str) -> JsonlFile:
    return JsonlFile.open(path, None)


def written(path: str, *lines: bytes) -> SinkMark:
    file = new(path)
    mark = file.append(lines)
    file.sync()
    file.close()
    return mark


def again(path: str, mark: SinkMark) -> None:
    JsonlFile.open(path, mark).close()


def test_lines_are_appended_in_a_folder_that_is_made(path: str) -> None:
    file = new(path)
    assert file.append([b"1", b"22"]).position == 5
    assert file.append([]).position == 5
    assert file.append([b"3"]).position == 7
    assert file.mark.position == 7
    file.sync()
    file.close()
    file.close()
    assert Path(path).read_bytes() == b"1\n22\n3\n"


def test_what_was_written_after_the_mark_is_cut_off(path: str) -> None:
    file = new(path)
    mark = file.append([b"1"])
    file.append([b"2"])
    file.close()
    file = JsonlFile.open(path, mark)
    assert Path(path).read_bytes() == b"1\n"
    assert file.mark == mark
    file.append([b"3"])
    file.close()
    assert Path(path).read_bytes() == b"1\n3\n"


def test_a_file_that_was_never_recorded_is_emptied(path: str) -> None:
    written(path, b"1")
    JsonlFile.open(path, SinkMark(0, 0, 0)).close()
    assert Path(path).read_bytes() == b""


def test_results_of_another_run_are_left_alone(path: str) -> None:
    written(path, b"1")
    with pytest.raises(StateError, match=r"holds 2 bytes from another run.*Move the file away"):
        new(path)
    assert Path(path).read_bytes() == b"1\n"


def test_a_shorter_file_is_not_the_one(path: str) -> None:
    mark = written(path, b"1", b"2")
    os.truncate(path, 3)
    with pytest.raises(StateError, match=r"shorter \(3 bytes\) than the ledger recorded \(4"):
        again(path, mark)
    assert Path(path).read_bytes() == b"1\n2"


def test_a_missing_file_is_reported(path: str) -> None:
    mark = written(path, b"1")
    Path(path).unlink()
    with pytest.raises(StateError, match="is missing, but the ledger recorded"):
        again(path, mark)
    assert not Path(path).exists()


@pytest.mark.parametrize("size", [1, TAIL_BYTES - 1, TAIL_BYTES, 3 * TAIL_BYTES])
def test_an_edited_file_is_not_the_one(path: str, size: int) -> None:
    mark = written(path, b"x" * size)
    again(path, mark)
    content = bytearray(Path(path).read_bytes())
    content[-2] ^= 1
    Path(path).write_bytes(content + b"more")
    with pytest.raises(StateError, match="edited or belongs to another run"):
        again(path, mark)
    assert Path(path).read_bytes() == content + b"more"


@settings(deadline=None)
@given(batches=st.lists(st.lists(st.binary(max_size=3000).map(bytes.hex), max_size=4), max_size=5))
def test_any_mark_can_be_gone_back_to(
    batches: list[list[str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = str(tmp_path_factory.mktemp("marks") / "out.jsonl")
    file = new(path)
    marks = [file.append([line.encode() for line in batch]) for batch in batches]
    file.close()
    content = Path(path).read_bytes()
    for mark in reversed(marks):
        file = JsonlFile.open(path, mark)
        assert file.mark == mark
        file.close()
        assert Path(path).read_bytes() == content[: mark.position]


def test_two_processes_do_not_write_one_file(path: str) -> None:
    file = new(path)
    with pytest.raises(StateError, match="being written by another process"):
        new(path)
    file.close()
    new(path).close()


def test_a_folder_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is a folder"):
        new(str(tmp_path))


def test_a_pipe_or_device_is_a_mistake(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path in (str(tmp_path / "fifo"), "/dev/null"):
        with pytest.raises(ConfigError, match="is not a regular file"):
            new(path)


def test_a_file_as_folder_is_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot be opened for writing"):
        new(str(tmp_path / "file" / "out.jsonl"))


def test_a_short_write_is_gone_on_with(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda file, data, at: real(file, bytes(data)[:3], at))
    written(path, b"12345", b"67890")
    assert Path(path).read_bytes() == b"12345\n67890\n"


def test_a_disk_error_is_reported_and_nothing_half_written_stays(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = new(path)
    before = file.append([b"1"])
    real = os.pwrite

    def broken(handle: int, data: bytes, at: int) -> int:
        if at > before.position:
            raise OSError(errno.EIO, "Input/output error")
        return real(handle, bytes(data)[:3], at)

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", broken)
        with pytest.raises(StateError, match=r"cannot be written.*nothing is lost"):
            file.append([b"22222"])
    assert Path(path).read_bytes() == b"1\n"
    assert file.mark == before
    file.close()


def test_a_failing_sync_is_reported(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    file = new(path)

    def broken(_handle: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", broken)
        with pytest.raises(StateError, match="could not be written to disk"):
            file.sync()
    file.close()


def test_a_line_may_come_in_pieces(path: str) -> None:
    file = new(path)
    pieces = [b"x" * 3_000, b"", b"y" * 3_000, b"z"]
    lines: list[bytes | Iterable[bytes]] = [b"1", b"2", iter(pieces), b"3", iter([b"4"])]
    mark = file.append(lines)
    file.close()
    assert Path(path).read_bytes() == b"1\n2\n" + b"".join(pieces) + b"\n3\n4\n"
    again(path, mark)


def test_nothing_stays_of_a_line_that_cannot_be_read_to_its_end(path: str) -> None:
    def broken() -> Iterator[bytes]:
        yield b"x" * 5_000
        raise ChangedError("the checksum is another")

    file = new(path)
    before = file.append([b"1"])
    with pytest.raises(StateError, match=r"read from the spool .*\(the checksum is another\)"):
        file.append([b"2", broken(), b"3"])
    assert Path(path).read_bytes() == b"1\n"
    assert file.mark == before
    file.append([b"4"])
    file.close()
    assert Path(path).read_bytes() == b"1\n4\n"


FULL_DISK = """
import resource, signal, sys
from dispatcher.errors import StateError
from dispatcher.connectors.jsonl.sink import JsonlFile
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, resource.RLIM_INFINITY))
file = JsonlFile.open(sys.argv[1], None)
mark = file.append([b"x" * 5_999])
try:
    file.append([b"y" * 6_000])
except StateError as error:
    assert file.mark == mark
    print(error)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
file.append([b"z" * 9_999])
file.close()
"""


def test_a_full_disk_is_reported_and_the_file_goes_on_when_there_is_room(path: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", FULL_DISK, path],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    assert f"{path} cannot grow (File too large); make room" in done.stdout
    assert Path(path).read_bytes() == b"x" * 5_999 + b"\n" + b"z" * 9_999 + b"\n"


# Changed by others while it is open


def test_a_file_that_goes_away_or_changes_under_a_run_is_noticed(path: str) -> None:
    file, place = new(path), Path(path)
    mark = file.append([b"1", b"2"])
    kept = place.read_bytes()
    for change, expected in (
        (place.unlink, "is not there any more"),
        (lambda: place.write_bytes(kept), "is not there any more"),  # another file, the same bytes
    ):
        change()
        with pytest.raises(StateError, match=expected):
            file.append([b"3"])
    file.close()

    for size in (0, 2, 50):
        file = JsonlFile.open(path, mark)
        os.truncate(path, size)
        with pytest.raises(StateError, match=f"written to byte 4 and is {size} bytes long"):
            file.append([b"3"])
        assert place.stat().st_size == size, "what is not understood is left as it is"
        file.close()
        place.write_bytes(kept)
    again(path, mark)
