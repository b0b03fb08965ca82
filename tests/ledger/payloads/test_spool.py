"""Payloads stay readable until they are released, over restarts, damage and full disks."""

import errno
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.errors import StateError
from dispatcher.flow.content import ChangedError, FileSlice
from dispatcher.ledger.invocation import SpoolRef
from dispatcher.ledger.payloads.spool import Spool

SEGMENT = 100


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db.spool"


@pytest.fixture
def opened(folder: Path, request: pytest.FixtureRequest) -> Callable[[], Spool]:
    """Open the folder again, as the next process of the run would."""

    def _opened() -> Spool:
        spool = Spool(folder, SEGMENT)
        request.addfinalizer(spool.close)
        return spool

    return _opened


@pytest.fixture
def spool(opened: Callable[[], Spool]) -> Spool:
    spool = opened()
    spool.begin()
    return spool


def files(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in sorted(folder.iterdir())}


def test_payloads_are_read_as_they_were_written(spool: Spool) -> None:
    payloads = [b"a" * 30, b"", b"\x00\xff", b"b" * 60]
    refs = spool.append(payloads)
    assert [spool.read(ref) for ref in refs] == payloads
    assert spool.size == 92
    assert spool.append([]) == []


def test_a_full_segment_is_closed_and_the_next_one_begun(spool: Spool, folder: Path) -> None:
    first = spool.append([b"a" * 99])
    second = spool.append([b"b" * 50])
    third = spool.append([b"c" * 10])
    assert [r.segment for r in first + second + third] == [1, 1, 2]
    assert files(folder) == {"00000001.spool": 149, "00000002.spool": 10}
    assert spool.size == 159


def test_a_segment_goes_with_its_last_payload_but_never_while_it_is_written(
    spool: Spool, folder: Path
) -> None:
    full = spool.append([b"a" * 60, b"b" * 60])
    [current] = spool.append([b"c" * 10])
    spool.release([full[0]])
    assert spool.read(full[1]) == b"b" * 60
    spool.release([full[1]])
    assert files(folder) == {"00000002.spool": 10}
    assert spool.size == 10
    assert spool.read(full[1]) is None
    spool.release([current])
    assert files(folder) == {"00000002.spool": 10}
    [later] = spool.append([b"d" * 5])
    assert spool.read(later) == b"d" * 5


def test_the_next_process_recovers_outstanding_payloads_and_deletes_the_rest(
    spool: Spool, opened: Callable[[], Spool], folder: Path
) -> None:
    old = spool.append([b"a" * 120])
    kept, settled = spool.append([b"b" * 40, b"c" * 20])
    spool.close()

    spool = opened()
    assert spool.recover(kept)
    spool.begin()
    assert files(folder) == {"00000002.spool": 60, "00000003.spool": 0}
    assert spool.size == 60
    assert spool.read(kept) == b"b" * 40
    assert spool.read(old[0]) is None
    [new] = spool.append([b"d"])
    assert new.segment == 3, "a segment of an earlier process is never written again"
    spool.release([kept])
    assert files(folder) == {"00000003.spool": 1}
    assert spool.read(settled) is None


@pytest.mark.parametrize("at", [0, 17, 39])
def test_a_damaged_byte_is_noticed(spool: Spool, folder: Path, at: int) -> None:
    before, ref, after = spool.append([b"x" * 10, b"a" * 40, b"y" * 10])
    file = folder / "00000001.spool"
    content = bytearray(file.read_bytes())
    content[ref.offset + at] ^= 1
    file.write_bytes(content)
    assert spool.read(ref) is None
    assert spool.read(before) == b"x" * 10
    assert spool.read(after) == b"y" * 10


def test_what_a_power_loss_took_is_not_recovered(
    spool: Spool, opened: Callable[[], Spool], folder: Path
) -> None:
    whole, cut, gone = spool.append([b"a" * 10, b"b" * 10, b"c" * 10])
    spool.close()
    (folder / "00000001.spool").write_bytes(b"a" * 10 + b"b" * 9)
    spool = opened()
    assert [spool.recover(ref) for ref in (whole, cut, gone)] == [True, False, False]
    spool.close()
    (folder / "00000001.spool").write_bytes(b"a" * 10 + b"\x00" * 20)  # size kept, blocks lost
    spool = opened()
    assert [spool.recover(ref) for ref in (whole, cut, gone)] == [True, False, False]
    spool.close()
    shutil.rmtree(folder)
    spool = opened()
    assert [spool.recover(ref) for ref in (whole, cut, gone)] == [False, False, False]
    spool.begin()
    [fresh] = spool.append([b"zzzzzzzzzz"])
    assert fresh.segment == whole.segment
    assert spool.read(whole) is None, "another payload in the old place is not taken for it"


def test_files_of_others_in_the_folder_are_left_alone(
    folder: Path, opened: Callable[[], Spool]
) -> None:
    folder.mkdir()
    (folder / "notes.spool").write_text("mine")
    (folder / "README").write_text("mine")
    spool = opened()
    spool.begin()
    assert files(folder) == {"00000001.spool": 0, "README": 4, "notes.spool": 4}


def test_two_threads_read_what_a_third_goes_on_writing(spool: Spool) -> None:
    payloads = [bytes([n]) * (n % 30) for n in range(200)]
    refs = [spool.append([payload])[0] for payload in payloads]
    begin = threading.Barrier(3)
    wrong: list[SpoolRef] = []

    def read(order: int) -> None:
        begin.wait(10)
        wrong.extend(
            ref
            for ref, payload in list(zip(refs, payloads, strict=True))[::order]
            if spool.read(ref) != payload
        )

    readers = [threading.Thread(target=read, args=(order,)) for order in (1, -1)]
    for reader in readers:
        reader.start()
    begin.wait(10)
    more = [spool.append([b"m" * 50])[0] for _ in range(200)]
    spool.release(more)
    for reader in readers:
        reader.join(10)
    assert wrong == []


def test_a_segment_may_go_while_it_is_read(
    spool: Spool, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [ref] = spool.append([b"a" * SEGMENT])
    assert spool.read(ref) is not None
    pread = os.pread

    def late(file: int, size: int, offset: int) -> bytes:
        spool.release([ref])
        return pread(file, size, offset)

    monkeypatch.setattr("dispatcher.ledger.payloads.spool.os.pread", late)
    assert spool.read(ref) is None
    assert files(folder) == {"00000002.spool": 0}


@pytest.mark.parametrize(("number", "is_damage"), [(errno.EIO, True), (errno.EMFILE, False)])
def test_what_cannot_be_read_is_damaged_but_a_process_without_files_is_not(
    spool: Spool, monkeypatch: pytest.MonkeyPatch, number: int, is_damage: bool
) -> None:
    [ref] = spool.append([b"a"])

    def fail(file: int, size: int, offset: int) -> bytes:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("dispatcher.ledger.payloads.spool.os.pread", fail)
    if is_damage:
        assert spool.read(ref) is None
    else:
        with pytest.raises(OSError, match="Too many open files"):
            spool.read(ref)


def test_a_folder_that_goes_away_is_a_sentence(spool: Spool, folder: Path) -> None:
    shutil.rmtree(folder)
    with pytest.raises(StateError, match=r"cannot write .*00000001\.spool: No such file"):
        spool.append([b"a"])


def test_a_segment_that_cannot_be_begun_is_a_sentence(spool: Spool, folder: Path) -> None:
    spool.append([b"a"])
    shutil.rmtree(folder)
    with pytest.raises(StateError, match=r"cannot write .*00000002\.spool: No such file"):
        spool.append([b"a" * SEGMENT])


@given(st.data())
def test_disk_use_follows_what_is_outstanding(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Any history of appends, releases and restarts keeps what is outstanding and little else."""
    folder = tmp_path_factory.mktemp("spool")
    spool = Spool(folder, SEGMENT)
    spool.begin()
    outstanding: dict[SpoolRef, bytes] = {}
    try:
        for step in range(data.draw(st.integers(1, 15))):
            word = data.draw(st.sampled_from(["append", "append", "blob", "release", "restart"]))
            if word == "append":
                sizes = data.draw(st.lists(st.integers(1, 70), min_size=1, max_size=4))
                payloads = [bytes([step, n]) * size for n, size in enumerate(sizes)]
                outstanding.update(zip(spool.append(payloads), payloads, strict=True))
            elif word == "blob":
                content = bytes([step]) * data.draw(st.integers(1, 150))
                [ref] = spool.append([blob_of(folder.parent, content)])
                outstanding[ref] = content
            elif word == "release" and outstanding:
                some = data.draw(st.lists(st.sampled_from(list(outstanding)), unique=True))
                spool.release(some)
                for ref in some:
                    del outstanding[ref]
            elif word == "restart":
                spool.close()
                spool = Spool(folder, SEGMENT)
                assert all(spool.recover(ref) for ref in outstanding)
                spool.begin()
            assert {ref: spool.read(ref) for ref in outstanding} == outstanding
            on_disk = files(folder)
            assert spool.size == sum(on_disk.values())
            used = {f"{ref.segment:08d}.spool" for ref in outstanding}
            assert used | {max(on_disk)} == set(on_disk)
    finally:
        spool.close()


def test_a_spool_shows_its_level(spool: Spool, folder: Path) -> None:
    assert repr(spool) == f"<Spool {folder}: 0 bytes in 1 segments>"
    spool.append([b"12345"])
    assert repr(spool) == f"<Spool {folder}: 5 bytes in 1 segments>"


# Large payloads


def blob_of(tmp_path: Path, content: bytes, *, steady: bool = False) -> FileSlice:
    path = tmp_path / f"blob-{len(content)}"
    path.write_bytes(b"??" + content + b"!!")
    return FileSlice(os.open(path, os.O_RDONLY), 2, len(content), steady=steady)


@pytest.fixture
def small_blobs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let payloads of 50 bytes be large, and be read in pieces of seven."""
    monkeypatch.setattr("dispatcher.ledger.payloads.spool.LARGE_BYTES", 50)
    monkeypatch.setattr("dispatcher.flow.content.CHUNK_BYTES", 7)


def test_a_blob_is_written_between_other_payloads_and_closed(
    spool: Spool, tmp_path: Path, folder: Path, small_blobs: None
) -> None:
    blob = blob_of(tmp_path, b"L" * 120)
    before, large, after = spool.append([b"a" * 10, blob, b"b" * 20])
    with pytest.raises(OSError, match="Bad file descriptor"):
        blob.read()
    assert [spool.read(ref) for ref in (before, large, after)] == [b"a" * 10, b"L" * 120, b"b" * 20]
    assert [ref.segment for ref in (before, large, after)] == [1, 2, 3], "it is alone"
    assert spool.size == 150 == sum(files(folder).values())
    kept = spool.open_slice(large)
    assert kept is not None
    assert list(kept.chunks())[:2] == [b"L" * 7] * 2
    spool.release([large])
    assert "00000002.spool" not in files(folder)
    assert kept.read() == b"L" * 120, "readable although the segment is gone"
    kept.close()
    assert spool.open_slice(large) is None


def test_a_segment_that_a_blob_closes_goes_with_its_last_payload(
    spool: Spool, tmp_path: Path, folder: Path
) -> None:
    [settled] = spool.append([b"a" * 10])
    spool.release([settled])
    spool.append([blob_of(tmp_path, b"L" * 95)])
    assert files(folder) == {"00000002.spool": 95}
    assert spool.size == 95


def test_the_next_process_looks_at_each_byte_of_a_blob(
    spool: Spool, opened: Callable[[], Spool], tmp_path: Path, folder: Path, small_blobs: None
) -> None:
    [ref] = spool.append([blob_of(tmp_path, b"L" * 120)])
    spool.close()
    assert opened().recover(ref)
    path = folder / f"{ref.segment:08d}.spool"
    path.write_bytes(b"L" * 119 + b"M")
    assert not opened().recover(ref)
    blob = opened().open_slice(ref)
    assert blob is not None
    with pytest.raises(ChangedError, match="checksum"):
        blob.read()
    path.write_bytes(b"L" * 119)
    assert not opened().recover(ref)
    path.unlink()
    assert not opened().recover(ref)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda path: os.truncate(path, 20), "bytes are missing"),
        (lambda path: path.write_bytes(b"?" * 200), "was written to"),
    ],
)
def test_a_blob_that_changes_under_the_spool_is_a_sentence(
    spool: Spool, tmp_path: Path, change: Callable[[Path], object], message: str
) -> None:
    blob = blob_of(tmp_path, b"L" * 120, steady=True)
    change(tmp_path / "blob-120")
    with pytest.raises(StateError, match=message):
        spool.append([blob])
    [ref] = spool.append([b"fine"])
    assert spool.read(ref) == b"fine"


def test_an_unread_blob_is_closed(tmp_path: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    blob_of(tmp_path, b"L")
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_full_disk_is_a_sentence_and_what_was_written_stays(folder: Path) -> None:
    child = subprocess.run(
        [sys.executable, __file__, str(folder)], capture_output=True, text=True, check=False
    )
    assert child.returncode == 0, child.stderr
    assert "cannot write" in child.stdout
    assert "File too large" in child.stdout
    assert "Free some space and run the same command again" in child.stdout


def fill_up(folder: Path) -> None:
    """Write until the file may not grow any more; runs in a process of its own."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, resource.RLIM_INFINITY))
    spool = Spool(folder)
    spool.begin()
    refs = [spool.append([b"a" * 999])[0] for _ in range(5)]
    try:
        spool.append([b"b" * 999])
    except StateError as error:
        print(error)  # noqa: T201 - read by the parent
    assert all(spool.read(ref) == b"a" * 999 for ref in refs)
    assert spool.read(replace(refs[0], offset=4_995)) is None
    spool.close()


if __name__ == "__main__":
    fill_up(Path(sys.argv[1]))
