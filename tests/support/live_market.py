"""What end-to-end tests of live candles share: a market whose minutes take a second, and what its files must hold."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from collector.core.candle import Series
from collector.sandbox import Options, Sandbox, open_sandbox
from collector.settings.settings import Settings
from tests.campaign.truth import series_of, wanted_start_ms, whole_lines
from tests.support.market import built, settings_for

START = "2024-05-15T12:29:40"


@asynccontextmanager
async def fast_box(*, tls_ca: Path | None = None, **options: object) -> AsyncIterator[Sandbox]:
    """Two symbols; a minute takes a second. With TLS if it is said where its authority is to be written to."""
    usual: dict[str, object] = {"seed": 7, "symbols": ["BTCUSDT", "ETHUSDT"], "start_time": START, "rate": 60}
    exchange = built(Options(**(usual | options)))  # type: ignore[typeddict-item]
    async with open_sandbox(exchange, tls=tls_ca is not None, ca_file=tls_ca) as box:
        yield box


def live_settings(box: Sandbox, directory: Path, **changes: object) -> Settings:
    """A day of minutes and five minutes of both symbols, and then on."""
    usual: dict[str, object] = {
        "ws_url": box.ws_url(),
        "symbols": ["BTCUSDT", "ETHUSDT"],
        "timeframes": ["1", "5"],
        "days_to_fetch": 1,
        "flush_interval_s": 0.1,
    }
    return settings_for(box.url, directory, **(usual | changes))


def wrongs(box: Sandbox, settings: Settings, late: int = 0) -> list[str]:
    """How the files differ from the truth over what is wanted and what they hold; the newest may not have come yet."""
    return [text for series in series_of(settings) if (text := _wrong(box, settings, series, late))]


def _wrong(box: Sandbox, settings: Settings, series: Series, late: int) -> str:
    held = whole_lines(settings.data_dir / f"{series}.csv")
    first_ms = int(held[1].split(b",")[0]) if len(held) > 1 else box.clock.now_ms()
    start_ms = min(first_ms, wanted_start_ms(box, settings, series)) if settings.mode == "full" else first_ms
    true = box.truth(series.symbol, series.timeframe.name, start_ms, box.clock.now_ms(), settings.category).splitlines()
    if len(true) - late <= len(held) and held == true[: len(held)]:
        return ""
    missing, foreign = sorted(set(true) - set(held)), sorted(set(held) - set(true))
    return f"{series}: {len(held)} of {len(true)} lines; missing {missing[:3]}, foreign {foreign[:3]}"
