"""Where an export goes, as the command line says it."""

import re
from pathlib import Path

import attrs

from collector.core.errors import SettingsError
from collector.settings.converters import directory

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_PLACES = "give a directory, s3://bucket/prefix or postgresql://host/database"
_POSTGRES = ("postgresql", "postgres")


@attrs.frozen
class Directory:
    """A directory for a Parquet dataset."""

    path: Path


@attrs.frozen
class Bucket:
    """A prefix in a bucket for a Parquet dataset."""

    url: str  # without a slash at its end


@attrs.frozen
class Database:
    """A PostgreSQL database; its address may hold a password."""

    url: str = attrs.field(repr=False)


def parse_address(text: str) -> Directory | Bucket | Database:
    """The place that an address names.

    Raises:
        SettingsError: it names none.
    """
    scheme = _SCHEME.match(text)
    if scheme is None:
        try:
            return Directory(directory(text))
        except ValueError as error:
            raise SettingsError([f"--to: {error}; {_PLACES}"]) from None
    name = scheme[1].lower()
    if name in _POSTGRES:
        return Database(f"postgresql://{text[scheme.end() :]}")
    if name == "s3":
        return Bucket(f"s3://{_checked_bucket(text[scheme.end() :])}")
    raise SettingsError([f"--to: {name}:// is not a place for an export; {_PLACES}"])


def _checked_bucket(text: str) -> str:
    bucket, *prefix = text.strip("/").split("/")
    if not _BUCKET.fullmatch(bucket):
        raise SettingsError(["--to: after s3:// comes the name of a bucket, such as s3://candles/bybit"])
    if any(not part or set(part) & set("*?[]") for part in prefix):
        raise SettingsError(["--to: a prefix has no empty part, and none of * ? [ ]"])
    return "/".join([bucket, *prefix])
