"""A rank that all others wait for: told, and nothing else is done."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from ktrain_controller.decision import Decision, Record
from ktrain_controller.observation import Observation
from ktrain_controller.pace import Work, is_window, stragglers, usual, works

TOLD: Final = "straggler:"  # then attempt/rank
AGAIN_SECONDS: Final = 3600.0
WORTH_SAYING: Final = 0.1  # of its work, waiting for data; scripts do not measure that
MOST: Final = 100  # ranks that are told of; the state has to stay small


def straggler(seen: Observation) -> Decision | None:
    """Names the slowest rank once in each attempt. It asks for no look of its own: each beat brings one."""
    old, new = seen.earlier, seen.beat
    if old is None or new is None or not is_window(old, new, seen.limits.straggler) or not _is_calm(seen):
        return None
    found = works(old, new)
    told = {name.rpartition("/")[2] for name in _kept(seen) if name.startswith(TOLD)}
    slow = [it for it in stragglers(found) if str(it.rank) not in told]
    if not slow or len(told) >= MOST:
        return None
    return _tell(seen, slow, normal=usual(found), seconds=new.heard_at - old.heard_at)


def _tell(seen: Observation, slow: Sequence[Work], *, normal: float, seconds: float) -> Decision:
    first = slow[0]
    beside = [it for it in slow[1:] if it.node == first.node]  # of one pod: for one reason, most likely
    asked = _kept(seen) | {f"{_own(seen)}{it.rank}": seen.now for it in (first, *beside)}
    what = f"{_what(first, normal)}{_more(beside)}; seen over {seconds:.0f} s"
    message = f"{_where(seen, first)} makes the others wait: {what}"
    return Decision("straggler", "Straggler", message, Record(), replace(seen.state, asked=asked))


def _is_calm(seen: Observation) -> bool:
    """Whether the newest beat is of now, and of a gang that trains."""
    is_heard = seen.silence is None and not seen.fleet.is_blind
    return is_heard and seen.is_enough and seen.beat is not None and seen.beat.state == "running"


def _own(seen: Observation) -> str:
    return f"{TOLD}{seen.job.attempt}/"


def _kept(seen: Observation) -> dict[str, float]:
    """What was asked and told, without stragglers of earlier attempts and of more than an hour ago."""
    asked, since = seen.state.asked.items(), seen.now - AGAIN_SECONDS
    return {name: at for name, at in asked if not name.startswith(TOLD) or name.startswith(_own(seen)) or at > since}


def _where(seen: Observation, slow: Work) -> str:
    pod = next((it for it in seen.pods if it.index == slow.node), None)
    return f"rank {slow.rank} ({f'pod {pod.name}, node {pod.node}' if pod else f'node rank {slow.node}'})"


def _what(slow: Work, normal: float) -> str:
    than = f"{slow.busy / normal:.1f} times as long as" if normal > 0 else "longer than"
    data = slow.data / slow.busy
    waits = f"; {data:.0%} of it waits for data" if data >= WORTH_SAYING else ""
    return f"busy for {slow.busy:.3g} s of each step, {than} the median rank{waits}"


def _more(beside: Sequence[Work]) -> str:
    return f"; slow in its pod too: rank {', '.join(str(it.rank) for it in beside)}" if beside else ""
