"""Announced maintenance: the exchange's status over REST, and its topic on a stream of its own."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from trio_websocket import WebSocketConnection, wrap_client_stream

from collector.sandbox import Clock, Maintenance, Sandbox, open_sandbox

from .asking import HOUR, NOW, asker

SOON = Maintenance(NOW + HOUR, NOW + 3 * HOUR, "Upgrade of the matching engine")


def test_the_status_lists_announcements_with_their_state() -> None:
    past = f"{NOW - 2 * HOUR}..{NOW - HOUR}"
    for later_ms, state in ((0, "scheduled"), (HOUR, "ongoing"), (3 * HOUR, "completed")):
        box = asker(NOW + later_ms, maintenance=[past, SOON])
        reply = box.json("/v5/system/status")
        assert (reply["retCode"], reply["time"]) == (0, NOW + later_ms)
        soon, before = reply["result"]["list"]
        assert (soon["title"], soon["state"]) == (SOON.title, state)
        assert (soon["begin"], soon["end"]) == (str(SOON.begin_ms), str(SOON.end_ms))
        assert (before["title"], before["state"]) == ("System maintenance", "completed")
        assert list(soon) == [
            *("id", "title", "state", "begin", "end", "href", "serviceTypes", "product", "uidSuffix"),
            *("maintainType", "env"),
        ]
        assert box.json("/v5/system/status", state=state, id=soon["id"])["result"]["list"] == [soon]
        assert box.json("/v5/system/status", id="other")["result"]["list"] == []
    assert asker().json("/v5/system/status")["result"] == {"list": []}


@pytest.mark.parametrize("wrong", ["2024-05-01", "2024-05-01T14..2024-05-01T12", "soon..2024-05-01"])
def test_a_maintenance_that_makes_no_sense_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match=r"maintenance|instant"):
        asker(maintenance=[wrong])


@asynccontextmanager
async def subscribed(box: Sandbox, topic: str) -> AsyncIterator[tuple[WebSocketConnection, Any]]:
    """A client on the stream of the status, and how it was answered."""
    async with await trio.open_tcp_stream(box.host, box.port) as stream, trio.open_nursery() as nursery:
        client = await wrap_client_stream(nursery, stream, box.host, "/v5/public/misc/status")
        async with client:
            await client.send_message(json.dumps({"op": "subscribe", "args": [topic]}))
            yield client, await receive(client)


async def receive(client: WebSocketConnection) -> Any:
    return json.loads(await client.get_message())


async def test_the_topic_pushes_what_is_announced_and_what_changes() -> None:
    with trio.fail_after(20):
        async with (
            open_sandbox(clock=Clock(NOW, rate=0), maintenance=[SOON]) as box,
            subscribed(box, "system.status") as (client, ack),
        ):
            assert (ack["success"], ack["ret_msg"], ack["req_id"]) == (True, "", "")
            pushes = [await receive(client)]
            box.clock.advance(HOUR)
            pushes.append(await receive(client))
            box.maintenance = (SOON, Maintenance(NOW + 9 * HOUR, NOW + 10 * HOUR, "Another"))
            pushes.append(await receive(client))
            assert [(push["topic"], push["ts"] - NOW) for push in pushes] == [
                ("system.status", 0),
                ("system.status", HOUR),
                ("system.status", HOUR),
            ]
            assert [[(row["title"], row["state"]) for row in push["data"]] for push in pushes] == [
                [(SOON.title, "scheduled")],
                [(SOON.title, "ongoing")],
                [("Another", "scheduled")],
            ]
            await client.send_message(json.dumps({"op": "ping"}))
            assert (await receive(client))["ret_msg"] == "pong"


async def test_the_stream_of_the_status_has_one_topic() -> None:
    with trio.fail_after(20):
        async with open_sandbox(clock=Clock(NOW, rate=0)) as box, subscribed(box, "kline.1.BTCUSDT") as (_, refused):
            assert refused["success"] is False
            assert refused["ret_msg"] == "error:handler not found,topic:kline.1.BTCUSDT"
