"""What commands say to a person: in the journal, each sentence has its priority."""

import os
import signal
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console
from rich.live import Live

from collector.commands.console import complain, drawing, say


def test_sentences_in_the_journal_have_their_priority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / "journal").open("w") as journal:
        monkeypatch.setattr("sys.stderr", journal)
        found = os.fstat(journal.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{found.st_ino}")
        say("stopped")
        complain(["data_dir is no directory"])
    lines = (tmp_path / "journal").read_text().splitlines()
    assert lines == ["<6>stopped", "<3>data_dir is no directory"]


def test_the_name_of_the_program_stands_before_the_first_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    complain(["[storage] data_dir: no directory", "[collection] days_to_fetch: no number"])
    say("stopped")
    assert capsys.readouterr().err.splitlines() == [
        "collector: [storage] data_dir: no directory",
        "[collection] days_to_fetch: no number",
        "stopped",
    ]


@pytest.mark.parametrize("width", [20, 80, 160])
def test_sentences_break_at_words_on_a_terminal(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    sentence = "  still missing: 3,000 candles in 2 spans, each on record; the next start asks for them again"
    monkeypatch.setenv("COLUMNS", str(width))
    window, terminal = os.openpty()
    with os.fdopen(terminal, "w") as stderr:
        monkeypatch.setattr("sys.stderr", stderr)
        say(sentence)
        said = b""
        while not said.endswith(b"again\r\n"):
            said += os.read(window, 4096)
    os.close(window)
    lines = said.decode().splitlines()
    assert all(len(line) <= width and line.startswith("  ") for line in lines)
    assert " ".join(" ".join(lines).split()) == sentence.strip()


def test_a_command_stays_one_line_on_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    command = "  collector repair --data-dir /srv/candles --symbols BTCUSDT --dry-run"
    monkeypatch.setenv("COLUMNS", "40")
    window, terminal = os.openpty()
    with os.fdopen(terminal, "w") as stderr:
        monkeypatch.setattr("sys.stderr", stderr)
        say(command, whole=True)
        assert os.read(window, 4096) == f"{command}\r\n".encode()
    os.close(window)


class _Interrupted(Live):
    """A display at whose beginning and end Ctrl-C is pressed."""

    def start(self, refresh: bool = False) -> None:
        signal.raise_signal(signal.SIGINT)
        super().start(refresh)

    def stop(self) -> None:
        signal.raise_signal(signal.SIGINT)
        super().stop()


def test_an_interrupt_while_a_display_begins_leaves_nothing_that_draws() -> None:
    screen = StringIO()
    live = _Interrupted("checking", console=Console(file=screen, force_terminal=True), transient=True)
    with pytest.raises(KeyboardInterrupt), drawing(live):
        pass
    assert not live.is_started
    assert screen.getvalue().endswith("\x1b[?25h\r\x1b[1A\x1b[2K")
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
