"""The files of a data directory."""

import errno
import io
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from collector.core.candle import TIMEFRAMES, Series
from collector.core.errors import StorageError
from collector.core.rows import HEADER
from collector.machine.disk import THIS_DISK
from collector.storage.csv_store import Store
from collector.storage.series_file import SeriesFile
from tests.support.candles import BTC, T0, content, rows, spans
from tests.support.disks import FullDisk
from tests.support.series_files import NAME, linked, opened


def test_what_is_removed_from_a_linked_file_is_kept_beside_its_target(tmp_path: Path) -> None:
    target = linked(tmp_path, "btc.csv")
    target.write_bytes(content(rows(0, 5)) + b"torn")
    beside = Store(tmp_path, THIS_DISK).remove_rows(BTC, rows(0, 5).text.splitlines(keepends=True), [b"torn"])
    assert beside == target.with_name("btc.csv.removed-1")
    assert (tmp_path / NAME).is_symlink()
    assert target.read_bytes() == content(rows(0, 5))


def test_what_is_removed_from_a_file_is_kept_beside_it_under_a_name_of_its_own(tmp_path: Path) -> None:
    store = Store(tmp_path, THIS_DISK)
    for bad in (b"bad,line\n", b"torn"):
        store.path(BTC).write_bytes(content(rows(0, 5)) + bad)
        store.remove_rows(BTC, rows(0, 5).text.splitlines(keepends=True), [bad])
        assert store.path(BTC).read_bytes() == content(rows(0, 5))
    kept = sorted(path.name for path in tmp_path.iterdir())
    assert kept == ["BTCUSDT_1.csv", "BTCUSDT_1.csv.removed-1", "BTCUSDT_1.csv.removed-2"]
    assert (tmp_path / "BTCUSDT_1.csv.removed-2").read_bytes() == b"torn"


def test_a_file_is_not_mended_when_what_goes_cannot_be_kept(tmp_path: Path) -> None:
    store = Store(tmp_path, FullDisk(10))
    store.path(BTC).write_bytes(content(rows(0, 5)) + b"bad,line,that,is,long\n")
    before = store.path(BTC).read_bytes()
    with pytest.raises(StorageError):
        store.remove_rows(BTC, rows(0, 5).text.splitlines(keepends=True), [b"bad,line,that,is,long\n"])
    assert [path.name for path in tmp_path.iterdir()] == ["BTCUSDT_1.csv"]
    assert store.path(BTC).read_bytes() == before


def test_rows_are_counted_without_reading_them(tmp_path: Path) -> None:
    store = Store(tmp_path, THIS_DISK)
    assert store.count_rows(BTC) == 0
    (tmp_path / NAME).write_bytes(content(rows(0, 77)))
    assert store.count_rows(BTC) == 77


REFUSED: list[tuple[str, Callable[[Store, SeriesFile], object]]] = [
    ("open", lambda store, _: store.open(BTC, None)),
    ("open", lambda _, file: file.append(rows(5, 6))),
    ("stat", lambda _, file: file.checkpoint()),
    ("stat", lambda store, file: store.sync_names([file])),
    ("stat", lambda _, file: file.insert([rows(0, 5, volume="9")])),
    ("listdir", lambda store, _: store.every_series()),
    ("ftruncate", lambda _, file: file.truncate(T0)),
    ("unlink", lambda store, _: store.open(BTC, None)),
]


@pytest.mark.parametrize(("call", "work"), REFUSED)
def test_a_system_call_that_fails_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, work: Callable[[Store, SeriesFile], object]
) -> None:
    def deaf(path: object, *_: object, **__: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO), path)

    opened(tmp_path).append(rows(0, 5))
    store = Store(tmp_path, THIS_DISK)
    file, _ = store.open(BTC, None)
    file.name_unsynced = True
    (tmp_path / f"{NAME}.cut-1.pending").write_bytes(rows(5, 6).text)
    store = Store(tmp_path, THIS_DISK)
    for module in (os, io):
        if hasattr(module, call):
            monkeypatch.setattr(module, call, deaf)
    with pytest.raises(StorageError, match="Input/output error"):
        work(store, file)
    monkeypatch.undo()


def test_only_a_file_that_is_new_has_a_name_to_be_synced(tmp_path: Path) -> None:
    store = Store(tmp_path, THIS_DISK)
    file, _ = store.open(BTC, None)
    assert not file.name_unsynced
    file.append(rows(0, 1))
    assert file.name_unsynced
    store.sync_names([file])
    file.append(rows(1, 2))
    assert not file.name_unsynced
    file.sync()
    assert store.open(BTC, None)[0].name_unsynced  # whoever wrote it may not have synced it
    assert not store.open(BTC, file.checkpoint())[0].name_unsynced


def test_every_series_is_one_that_a_file_is_named_after_in_order(tmp_path: Path) -> None:
    assert Store(tmp_path / "none", THIS_DISK).every_series() == []
    for name in ("ETHUSDT_5.csv", NAME, "notes.csv", "BTCUSDT_1.csv.new"):
        (tmp_path / name).touch()
    assert Store(tmp_path, THIS_DISK).every_series() == [BTC, Series("ETHUSDT", TIMEFRAMES["5"])]


def test_a_piece_that_is_used_up_leaves_the_others_waiting(tmp_path: Path) -> None:
    store = Store(tmp_path, THIS_DISK)
    for first in (20, 40):
        (tmp_path / f"{NAME}.cut-{first}.pending").write_bytes(rows(first, first + 5).text)
    file, _ = store.open(BTC, None)
    store.finish(file, file.pieces[0])
    assert [piece.covered for piece in file.pieces] == [spans(40, 45)]
    assert {path.name for path in tmp_path.iterdir()} == {f"{NAME}.cut-20", f"{NAME}.cut-40.pending"}


def test_lines_that_are_mended_away_are_kept_as_they_were(tmp_path: Path) -> None:
    store = Store(tmp_path, THIS_DISK)
    beside = store.remove_rows(BTC, [rows(0, 1).text], [b"one\n", b"two\n"])
    assert beside
    assert beside.read_bytes() == b"one\ntwo\n"
    assert store.remove_rows(BTC, [rows(0, 1).text], []) is None


def test_only_a_file_that_would_lose_rows_is_foreign(tmp_path: Path) -> None:
    store = Store(tmp_path, THIS_DISK)
    for data, is_foreign in [(content(rows(0, 5)), False), (b"somebody,else\n1,2,3,4,5\n", True)]:
        (tmp_path / NAME).write_bytes(data)
        assert store.is_foreign(BTC) is is_foreign


@pytest.mark.parametrize(("data", "count"), [(None, 0), (b"", 0), (HEADER, 0), (content(rows(0, 3)), 3)])
def test_a_file_has_as_many_rows_as_lines_behind_its_header(tmp_path: Path, data: bytes | None, count: int) -> None:
    if data is not None:
        (tmp_path / NAME).write_bytes(data)
    assert Store(tmp_path, THIS_DISK).count_rows(BTC) == count
