"""What commands say to a person: in the journal, each sentence has its priority."""

import os
from pathlib import Path

import pytest

from collector.commands.console import say


def test_sentences_in_the_journal_have_their_priority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / "journal").open("w") as journal:
        monkeypatch.setattr("sys.stderr", journal)
        found = os.fstat(journal.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{found.st_ino}")
        say("stopped")
        say("data_dir is no directory", priority=3)
        monkeypatch.delenv("JOURNAL_STREAM")
        say("to a terminal")
    lines = (tmp_path / "journal").read_text().splitlines()
    assert lines == ["<6>collector: stopped", "<3>collector: data_dir is no directory", "collector: to a terminal"]
