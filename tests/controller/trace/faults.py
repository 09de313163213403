"""Everything that goes wrong in a trace: each fault by itself, and how often each comes."""

import math
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from ktrain.names import Exit
from tests.controller.fake_objects import RefusedError
from tests.controller.trace.launchers import SILENCES, How
from tests.controller.trace.world import NODES, World

Fault = Callable[[World], None]


# -- pods --------------------------------------------------------------------------------------------------------------
def crash(world: World) -> None:
    code = world.chance.choice((137, 139, 200, 202))
    world.break_down([(pod, code) for pod in world.victims(is_calm=False)[:1]], is_charged=True)


def crash_together(world: World) -> None:
    world.break_down(zip(world.victims(is_calm=False), (139, 200), strict=False), is_charged=True)


def preempt(world: World) -> None:
    world.break_down(zip(world.victims(), (143, 200), strict=False))


def drain(world: World) -> None:
    pods = world.victims()
    for pod in pods[:1]:
        world.truth_of(pod).ends.append(world.clock.now)
        world.operator.delete(pod["metadata"]["name"])
    world.break_down([(pod, 200) for pod in pods[1:]])


def end_for_good(world: World) -> None:
    world.break_down([(pod, 70) for pod in world.victims(is_calm=False)[:1]])


def commit(world: World) -> None:
    for name in world.truths:
        if world.chance.random() < 0.5 and not world.launchers.is_in_trouble(name):
            world.launchers.commit(name)


# -- launchers ---------------------------------------------------------------------------------------------------------
def fall_silent(world: World) -> None:
    _trouble(world, world.chance.choice(SILENCES))


def stand_still(world: World) -> None:
    _trouble(world, "stuck")


def _trouble(world: World, how: How) -> None:
    hot = [name for name, truth in world.truths.items() if not truth.is_calm]
    world.launchers.trouble(world.chance.choice(hot), how, world.chance.choice((30, 100, 140, math.inf, math.inf)))


def cut_off(world: World) -> None:
    world.launchers.cut_off(world.chance.choice((20, 100, 200)))


def set_pod_clock(world: World) -> None:
    run = world.chance.choice(list(world.launchers.runs.values()))
    run.skew += world.chance.choice((-600, 600))


# -- nodes -------------------------------------------------------------------------------------------------------------
def lose_node(world: World) -> None:
    name = world.chance.choice(NODES[1:])
    world.broken.add(name)
    for job in world.truths:
        _orphan(world, job, name)
    world.operator.set_node(name, is_ready=False)


def _orphan(world: World, job: str, node: str) -> None:
    """Launchers that lose a peer with its node say so long before anybody knows about the node."""
    up = world.up(job)
    left = [pod for pod in up if pod["spec"]["nodeName"] != node]
    if len(left) < len(up) and world.chance.random() < 0.5:
        world.truths[job].orphans[world.break_down([(pod, Exit.PEER) for pod in left])] = world.clock.now


def mend_nodes(world: World) -> None:
    world.operator.add_nodes(*NODES)


def announce(world: World) -> None:
    world.operator.set_node(NODES[0], is_ready=True, taints=world.chance.choice((["ktrain.dev/leaving"], [])))


# -- the API server ----------------------------------------------------------------------------------------------------
def drop_watches(world: World) -> None:
    world.api.drop_watches(is_clean=world.chance.random() < 0.5)


def expire(world: World) -> None:
    world.api.drop_watches()
    with suppress(RefusedError):  # a watch is about to hear that it has expired
        world.api.forget()


def storm(world: World) -> None:
    """Whatever the next watches ask for has expired, in the stream or before it."""
    world.api.faults.expires_by_status = world.chance.random() < 0.5
    world.api.faults.expire = world.chance.randint(3, 12)
    expire(world)


def lose_watch(world: World) -> None:
    """Half-open: it stays, and delivers nothing."""
    plural = world.chance.choice(("pods", "pods", "pytorchjobs", "nodes"))
    if not world.brain.eyes.is_lost(plural):
        world.api.lose_watches(plural)
        world.lost[plural] = world.clock.now


def refuse(world: World) -> None:
    code, after = world.chance.choice(((429, "2"), (429, None), (500, None), (503, "1")))
    world.api.refuse(world.chance.randint(1, 6), code, after)


def truncate(world: World) -> None:
    world.api.faults.truncate = world.chance.choice(("clean", "abrupt"))


def scramble(world: World) -> None:
    world.api.faults.scramble = None if world.api.faults.scramble else world.draw(f"order at {world.clock.now}")


def slow_down(world: World) -> None:
    world.api.faults.list_seconds = world.chance.choice((0, 2, 12))


def restart_server(world: World) -> None:
    world.api.restart()


# -- time --------------------------------------------------------------------------------------------------------------
def set_clock(world: World) -> None:
    world.clock.set(world.chance.choice((-600, 600)))
    world.troubles.append(world.clock.now)


def restart_controller(world: World) -> None:
    world.replace_brain()


OF_PODS: Final[list[Fault]] = [
    *[crash] * 4, crash_together, *[preempt] * 3, *[drain] * 3, end_for_good, *[commit] * 3,
    lose_node, *[mend_nodes] * 2, announce,
]  # fmt: skip
OF_LAUNCHERS: Final[list[Fault]] = [
    *[fall_silent] * 3, *[stand_still] * 3, cut_off, set_pod_clock,
]  # fmt: skip
OF_THE_SERVER: Final[list[Fault]] = [
    drop_watches, drop_watches, expire, storm, lose_watch, lose_watch, refuse, refuse, truncate, scramble, slow_down,
    restart_server, set_clock, restart_controller,
]  # fmt: skip
FAULTS: Final[list[Fault]] = [*OF_PODS, *OF_LAUNCHERS, *OF_THE_SERVER]


def mend_all(world: World) -> None:
    """Of what lasts."""
    faults = world.api.faults
    faults.refusals.clear()
    faults.scramble, faults.list_seconds, faults.expire = None, 0, 0
    mend_nodes(world)
    world.launchers.cut_off(0)
