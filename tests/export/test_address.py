"""Where an export goes, as somebody may write it."""

from pathlib import Path

import pytest

from collector.core.errors import SettingsError
from collector.export.address import Bucket, Database, Directory, parse_address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("out", Directory(Path("out"))),
        ("/srv/a b", Directory(Path("/srv/a b"))),
        ("s3://candles", Bucket("s3://candles")),
        ("s3://candles/bybit/linear/", Bucket("s3://candles/bybit/linear")),
        ("postgres://me@db/market", Database("postgresql://me@db/market")),
        ("postgresql:///market?host=/run/pg", Database("postgresql:///market?host=/run/pg")),
    ],
)
def test_an_address_names_a_place(text: str, address: object) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize(
    "text",
    ["", "  ", "a\0b", "s3://", "s3://UPPER/x", "s3://a-b/x//y", "s3://a-b/*", "gs://a/b", "~nobody-of-that-name/x"],
)
def test_what_names_no_place_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="--to: "):
        parse_address(text)


def test_a_password_is_not_shown_with_the_address() -> None:
    assert "secret" not in repr(parse_address("postgresql://me:secret@db/market"))
