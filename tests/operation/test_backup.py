"""The guide's backup: a copy made while candles are written is restored whole."""

import re
import shutil
from pathlib import Path

import attrs
import pytest
import trio

from collector.integrity.checker import DataIntegrityChecker
from tests.end_to_end.test_status import collecting, fast_box, is_up_to_date, settings_for_status
from tests.support.live_market import wrongs
from tests.support.market import fetch

GUIDE = (Path(__file__).parents[2] / "docs" / "guides" / "upkeep.md").read_text()


def left_out() -> list[str]:
    """What the guide's command leaves out."""
    command = next(line for line in GUIDE.splitlines() if line.startswith("rsync -a --delete"))
    return [Path(name).name for name in re.findall(r"--exclude '([^']+)'", command)]


@pytest.mark.parametrize("keeps_ledger", [True, False], ids=["with", "without its ledger"])
async def test_a_copy_of_a_directory_at_work_is_made_whole_by_the_next_start(
    tmp_path: Path, keeps_ledger: bool
) -> None:
    async with fast_box() as box:
        settings = settings_for_status(box, tmp_path)
        copy = attrs.evolve(settings, data_dir=tmp_path / "restored")
        without = [*left_out(), *([] if keeps_ledger else [".collector"])]
        async with collecting(settings) as run:
            await run.is_so(is_up_to_date)
            reached = (await run.report()).stream.confirmed
            await run.is_so(lambda report: report.stream.confirmed > reached)
            ignored = shutil.ignore_patterns(*without)
            await trio.to_thread.run_sync(lambda: shutil.copytree(settings.data_dir, copy.data_dir, ignore=ignored))
        await fetch(copy)
        assert wrongs(box, copy, late=99) == []  # none but those that close meanwhile
        found = await trio.to_thread.run_sync(DataIntegrityChecker(copy).check_all_files)
    assert found["total_duplicates"] == 0


def test_a_copy_leaves_out_what_cannot_be_copied_and_what_is_made_anew() -> None:
    assert left_out() == ["status.sock", "arrow"]
