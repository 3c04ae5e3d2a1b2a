"""What befalls the collectors of the simulated cluster, their database and the way to it; peace ends all of it."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import trio

from collector.sandbox import Faults
from tests.cluster.node import Node

if TYPE_CHECKING:
    from tests.cluster.world import World


def _kill(world: "World", node: Node) -> None:
    world.soon(node.kill, world.dice.choice((0.2, 10, 60)))


def _power_cut(world: "World", node: Node) -> None:
    async def cut() -> None:
        await node.kill(world.dice.choice((10, 60)), power=True)

    world.soon(cut)


def _kill_in_a_call(world: "World", node: Node) -> None:
    async def die(calls: int, again_s: float) -> None:
        await node.process.die_in_a_call(calls, 60)
        await node.kill(again_s, anyhow=True)

    world.soon(die, world.dice.randrange(200), world.dice.choice((0.2, 10, 60)))


def _stop(world: "World", node: Node) -> None:
    world.soon(node.end, world.dice.choice((0.2, 10, 60)))


def _pause(world: "World", node: Node) -> None:
    async def pause(for_s: float) -> None:
        node.pause()
        await trio.sleep(for_s)
        node.go_on()

    world.soon(pause, world.dice.choice((2, 15, 30, 50, 100)))


def _pause_in_a_transaction(world: "World", node: Node) -> None:
    node.line.at_halfway = lambda: _pause(world, node)


def _database_cut_off(world: "World", node: Node) -> None:
    node.line.cut = world.dice.choice(("silent", "refused", ""))


def _exchange_cut_off(world: "World", node: Node) -> None:
    node.cut_exchange(world.dice.choice(("silent", "refused")))


def _database_away(world: "World", _: Node) -> None:
    world.database.away = world.dice.choice(("silent", "refused", ""))


def _database_restart(world: "World", _: Node) -> None:
    world.database.restart()


def _slow_database(world: "World", node: Node) -> None:
    node.line.slow_s = world.dice.choice((0.5, 3.0, 6.0))


def _lost_answers(world: "World", node: Node) -> None:
    node.line.loses = world.dice.choice((0.3, 1.0))


def _wrong_stream(world: "World", _: Node) -> None:
    world.box.faults = Faults(confirm_wrong=0.4, confirm_missing=0.2)


FAULTS: dict[str, Callable[["World", Node], None]] = {
    "kill": _kill,
    "kill in a call": _kill_in_a_call,
    "power cut": _power_cut,
    "stop": _stop,
    "pause": _pause,
    "pause in a transaction": _pause_in_a_transaction,
    "database cut off": _database_cut_off,
    "exchange cut off": _exchange_cut_off,
    "database away": _database_away,
    "database restart": _database_restart,
    "slow database": _slow_database,
    "lost answers": _lost_answers,
    "wrong stream": _wrong_stream,
}
