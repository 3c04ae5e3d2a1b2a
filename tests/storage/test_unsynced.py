"""The last bytes of a file: all of them are known, or none, and then the file itself has to be synced."""

from collector.storage.unsynced import _MOST, Unsynced


def test_what_was_appended_is_known_until_the_journal_has_it() -> None:
    unsynced = Unsynced()
    unsynced.add(b"one\n")
    unsynced.add(b"two\n")
    assert (unsynced.text, unsynced.is_known) == (b"one\ntwo\n", True)
    unsynced.clear()
    unsynced.add(b"three\n")
    assert (unsynced.text, unsynced.is_known) == (b"three\n", True)


def test_of_more_than_is_written_twice_nothing_is_known() -> None:
    unsynced = Unsynced()
    unsynced.add(bytes(_MOST - 1))
    unsynced.add(b"\n")
    assert (len(unsynced.text), unsynced.is_known) == (_MOST, True)
    unsynced.add(b"x")
    assert (unsynced.text, unsynced.is_known) == (b"", False)


def test_bytes_behind_unknown_ones_are_as_unknown() -> None:
    unsynced = Unsynced()
    unsynced.add(bytes(_MOST + 1))
    unsynced.add(b"one\n")
    unsynced.clear()
    unsynced.add(b"two\n")
    assert (unsynced.text, unsynced.is_known) == (b"", False)
