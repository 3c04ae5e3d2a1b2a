"""What was taken out of a file: kept beside it, found again, and waiting until it is used up."""

from pathlib import Path

import pytest

from collector.machine.disk import THIS_DISK
from collector.storage.files import Files
from collector.storage.quarantine import Quarantine, quarantined_lines, rows_in
from tests.support.candles import BTC, MINUTE, content, row, rows, spans
from tests.support.disks import RecordingDisk

NAME = BTC.file_name


@pytest.fixture
def quarantine() -> Quarantine:
    return Quarantine(Files(THIS_DISK))


def names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


def test_pieces_that_wait_are_found_by_their_names(tmp_path: Path, quarantine: Quarantine) -> None:
    for name, first in [("cut-2.pending", 20), ("set-aside-1.pending", 0), ("cut-1", 40), ("removed-1.pending", 50)]:
        (tmp_path / f"{NAME}.{name}").write_bytes(rows(first, first + 5).text)
    (tmp_path / "ETHUSDT_1.csv.cut-1.pending").write_bytes(rows(60, 61).text)
    pieces = quarantine.pieces(MINUTE, tmp_path / NAME)
    assert [(piece.path.name, piece.covered) for piece in pieces] == [
        (f"{NAME}.cut-2.pending", spans(20, 25)),
        (f"{NAME}.set-aside-1.pending", spans(0, 5)),
    ]


def test_a_piece_without_a_sound_row_is_used_up(tmp_path: Path, quarantine: Quarantine) -> None:
    (tmp_path / f"{NAME}.cut-1.pending").write_bytes(b"spoiled\n")
    assert quarantine.pieces(MINUTE, tmp_path / NAME) == ()
    assert names(tmp_path) == {f"{NAME}.cut-1"}


def test_a_series_of_which_any_piece_waits_has_one(tmp_path: Path, quarantine: Quarantine) -> None:
    assert quarantine.every_series(tmp_path / "none") == set()
    for name in (f"{NAME}.cut-1", f"{NAME}.cut-2.pending", "ETHUSDT_1.csv.cut-1", "notes.cut-1.pending"):
        (tmp_path / name).touch()
    assert quarantine.every_series(tmp_path) == {BTC}


@pytest.mark.parametrize(("pending", "name"), [(True, f"{NAME}.set-aside-1.pending"), (False, f"{NAME}.set-aside-1")])
def test_a_file_is_set_aside_for_good_and_found_from_then_on(tmp_path: Path, pending: bool, name: str) -> None:
    disk = RecordingDisk()
    quarantine, path = Quarantine(Files(disk)), tmp_path / NAME
    path.write_bytes(rows(0, 5).text)
    assert quarantine.pieces(MINUTE, path) == ()
    assert quarantine.keep_file(path, pending=pending).name == f"{NAME}.set-aside-1"
    assert names(tmp_path) == {name}
    assert disk.synced == [tmp_path]
    assert len(quarantine.pieces(MINUTE, path)) == pending


@pytest.mark.parametrize(("pending", "name"), [(True, f"{NAME}.cut-1.pending"), (False, f"{NAME}.cut-1")])
def test_what_is_cut_off_is_kept_and_found_from_then_on(
    tmp_path: Path, quarantine: Quarantine, pending: bool, name: str
) -> None:
    assert quarantine.pieces(MINUTE, tmp_path / NAME) == ()
    assert quarantine.keep_tail(tmp_path / NAME, rows(0, 5).text, pending=pending).name == f"{NAME}.cut-1"
    assert names(tmp_path) == {name}
    assert len(quarantine.pieces(MINUTE, tmp_path / NAME)) == pending


def test_what_is_kept_already_is_kept_once_and_anything_else_beside_it(tmp_path: Path, quarantine: Quarantine) -> None:
    for text, name in [(b"one\n", "cut-1"), (b"two\n", "cut-2"), (b"three\n", "cut-3"), (b"two\n", "cut-2")]:
        assert quarantine.keep_tail(tmp_path / NAME, text, pending=True).name == f"{NAME}.{name}"
    assert names(tmp_path) == {f"{NAME}.cut-{number}.pending" for number in (1, 2, 3)}


def test_a_piece_that_is_used_up_waits_no_more(tmp_path: Path, quarantine: Quarantine) -> None:
    quarantine.keep_tail(tmp_path / NAME, rows(0, 5).text, pending=True)
    (piece,) = quarantine.pieces(MINUTE, tmp_path / NAME)
    quarantine.finish(piece)
    assert names(tmp_path) == {f"{NAME}.cut-1"}
    assert quarantine.pieces(MINUTE, tmp_path / NAME) == ()


def test_a_series_of_which_every_piece_is_used_up_has_none(tmp_path: Path, quarantine: Quarantine) -> None:
    quarantine.keep_tail(tmp_path / NAME, rows(0, 5).text, pending=True)
    assert quarantine.every_series(tmp_path) == {BTC}
    for piece in quarantine.pieces(MINUTE, tmp_path / NAME):
        quarantine.finish(piece)
    assert quarantine.every_series(tmp_path) == set()


def test_only_the_rows_of_the_spans_are_taken_from_pieces(tmp_path: Path, quarantine: Quarantine) -> None:
    for first in (5, 0):
        quarantine.keep_tail(tmp_path / NAME, rows(first, first + 5).text + b"spoiled\n", pending=True)
    pieces = quarantine.pieces(MINUTE, tmp_path / NAME)
    found = rows_in(THIS_DISK, MINUTE, pieces, spans(3, 7))
    assert (found.text, found.covered) == (rows(3, 7).text, spans(3, 7))


def test_imported_rows_are_found_from_then_on(tmp_path: Path, quarantine: Quarantine) -> None:
    assert quarantine.pieces(MINUTE, tmp_path / NAME) == ()
    assert quarantine.keep_imported(tmp_path / NAME, rows(0, 5).text).name == f"{NAME}.imported-1"
    assert [piece.covered for piece in quarantine.pieces(MINUTE, tmp_path / NAME)] == [spans(0, 5)]


def test_every_line_that_was_taken_out_of_a_file_is_kept(tmp_path: Path, quarantine: Quarantine) -> None:
    path = tmp_path / NAME
    path.write_bytes(content(rows(0, 1)))
    for name, text in [
        (f"{NAME}.cut-1", row(1).text),
        (f"{NAME}.cut-2.pending", row(2).text.replace(b"\n", b"\r\n") + b"torn"),
        ("ETHUSDT_1.csv.cut-1", row(3).text),
        (f"{NAME}.new", row(4).text),
    ]:
        (tmp_path / name).write_bytes(text)
    (tmp_path / f"{NAME}.cut-3").mkdir()
    kept = {row(1).text.strip(), row(2).text.strip(), b"torn", b""}
    assert quarantined_lines(THIS_DISK, path) == kept
