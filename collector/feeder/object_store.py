"""Partitions in an object store, read through polars.

Credentials, region and endpoint come from the environment, as other tools of S3 read them (AWS_ACCESS_KEY_ID,
AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_ENDPOINT_URL). Of an answer that refuses, a sentence has the code and the message
alone: stores repeat the access key in the rest. Failing and slow answers are asked for again for a minute.
"""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import PurePosixPath
from typing import Any

import attrs
import polars as pl

from collector.core.candle import Series
from collector.core.errors import CollectorError, NotReadable, SettingsError, Unavailable
from collector.feeder.dataset import Footer, file_name, folder_of, month_of_file, parse_footer, series_of_folder
from collector.feeder.partitions import as_candles

# Of one request, and of all tries together.
PATIENCE: dict[str, Any] = {"timeout": "30s", "connect_timeout": "10s", "max_retries": 8, "retry_timeout_ms": 60_000}
_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")  # the first that is there counts
_REGION = "us-east-1"  # what stores of one's own take; without it the region is asked for at Amazon
_INSTANCE = "//169.254.169.254/"  # where machines of Amazon are told credentials, asked where the environment has none
_CODE, _MESSAGE = re.compile(r"<Code>([^<]{1,80})</Code>"), re.compile(r"<Message>([^<]{1,200})</Message>")
_STATUS = re.compile(r"status code: (\d{3})")
_PASSING = ("404", "408", "409", "429")  # of the answers that say we are wrong


@attrs.frozen
class BucketPartitions:
    """Those below a prefix; `url` is s3://bucket/prefix, without a slash at its end."""

    url: str
    options: Mapping[str, Any] = attrs.field(factory=lambda: store_options(os.environ))

    @property
    def place(self) -> str:
        return self.url

    def stored(self) -> Iterator[Series]:
        for folder in sorted({str(path.parent) for path in self._paths("timeframe=*/symbol=*")}):
            if series := series_of_folder(folder):
                yield series

    def months(self, series: Series) -> Sequence[int]:
        found = (month_of_file(path.name) for path in self._paths(folder_of(series)))
        return sorted(month_ms for month_ms in found if month_ms is not None)

    def footer(self, series: Series, month_ms: int) -> Footer | None:
        with suppress(FileNotFoundError, NotReadable), self._mapped():
            return parse_footer(pl.read_parquet_metadata(self.path(series, month_ms), storage_options=self._options))
        return None

    def is_untouched(self, series: Series, month_ms: int, footer: Footer) -> bool:
        """Whether the object is as it was written: its time of modification is the store's own."""
        return True

    def read(self, series: Series, month_ms: int) -> pl.DataFrame:
        path = self.path(series, month_ms)
        with self._mapped():
            return as_candles(path, path, self._options)

    def path(self, series: Series, month_ms: int) -> str:
        """Where a partition is, or would be."""
        return f"{self.url}/{folder_of(series)}/{file_name(month_ms)}"

    def _paths(self, folders: str) -> Sequence[PurePosixPath]:
        """The partitions in some folders, relative to the prefix."""
        try:
            with self._mapped():
                paths = self._listed(folders)
        except FileNotFoundError:  # of a store that has the bucket: whoever lists is told of no object
            raise Unavailable(f"{self.url} cannot be used (status 404); what was written stays") from None
        return [PurePosixPath(path[len(self.url) + 1 :]) for path in paths]

    def _listed(self, folders: str) -> Sequence[str]:
        try:
            scanned = pl.scan_parquet(
                f"{self.url}/{folders}/*.parquet",
                include_file_paths="path",
                hive_partitioning=False,
                storage_options=self._options,
            )
            return scanned.select(pl.col("path").unique()).collect()["path"].to_list()
        except pl.exceptions.ComputeError as error:
            if "expanded paths were empty" in str(error):
                return []
            raise

    @property
    def _options(self) -> dict[str, Any]:
        return dict(self.options)

    @contextmanager
    def _mapped(self) -> Iterator[None]:
        """Raises the store's errors as ours; of a missing object, `FileNotFoundError`."""
        try:
            yield
        except (OSError, pl.exceptions.PolarsError) as error:
            text = str(error)
            if "NoSuchBucket" not in text and (isinstance(error, FileNotFoundError) or "status code: 404" in text):
                raise FileNotFoundError from None
            raise self.as_ours(error) from None

    def as_ours(self, error: Exception) -> CollectorError:
        """An error of the store as a sentence."""
        text, bucket = str(error), self.url.removeprefix("s3://").partition("/")[0]
        status = match[1] if (match := _STATUS.search(text)) else ""
        told = [found[1] for pattern in (_CODE, _MESSAGE) if (found := pattern.search(text))]
        if _INSTANCE in text:
            return SettingsError(["S3 needs AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment"])
        if "NoSuchBucket" in text:
            return SettingsError([f"there is no bucket {bucket}"])
        if isinstance(error, PermissionError) or (status.startswith("4") and status not in _PASSING):
            return SettingsError([f"{self.url} is refused to us ({': '.join(told) or f'status {status}'})"])
        if isinstance(error, pl.exceptions.PolarsError) and not status:
            return NotReadable(f"{self.url} holds a file that is not a partition of candles")
        why = ": ".join(told) or (f"status {status}" if status else _last_cause(text))
        return Unavailable(f"{self.url} cannot be used ({why}); what was written stays")


def _last_cause(text: str) -> str:
    """Why nobody answered: the innermost cause, which earlier polars leave out."""
    if "timed out" in text:
        return "no answer in time"
    causes = text.partition("Caused by:")[2].strip().splitlines()
    return causes[-1].strip().lstrip("0123456789: ")[:200] if causes else "nobody answers"


def store_options(environment: Mapping[str, str]) -> dict[str, Any]:
    """What polars is told beside the environment.

    The endpoint is among it: polars keeps the stores that it has opened, and would go on to one that the environment
    named before.
    """
    options = PATIENCE | {"aws_allow_http": "true"}  # an endpoint without TLS is its owner's choice
    if own := next(filter(None, map(environment.get, _ENDPOINTS)), ""):
        options["aws_endpoint_url"] = own
        if not any(environment.get(name) for name in ("AWS_REGION", "AWS_DEFAULT_REGION")):
            options["aws_region"] = _REGION
    return options
