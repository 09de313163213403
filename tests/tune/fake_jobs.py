"""A place that runs jobs in no time: each look lets a job make one more evaluation."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ktrain.records import Records
from ktrain.tune.work import Ended, Seen, Work

Curve = Callable[[dict[str, Any]], Sequence[float]]  # the evaluations of a job with these values


@dataclass
class FakeJobs:
    """Those that are `failing` never make an evaluation."""

    curve: Curve
    failing: frozenset[str] = frozenset()
    started: list[Work] = field(default_factory=list)
    most: int = 0  # at once
    killed: bool = False
    _evaluations: dict[str, int] = field(default_factory=dict)
    _asked: set[str] = field(default_factory=set)
    _ended: set[str] = field(default_factory=set)

    def start(self, work: Work, slot: int) -> None:
        self.started.append(work)
        self._evaluations.setdefault(work.name, 0)
        self._ended.discard(work.name)
        self._asked.discard(work.name)
        self.most = max(self.most, len({it.name for it in self.started} - self._ended))

    def look(self, work: Work) -> Ended | None:
        ended = self._look(work)
        if ended:
            self._ended.add(work.name)
        return ended

    def see(self, work: Work) -> Seen:
        self._evaluations[work.name] += 1
        evals = [
            {"kind": "eval", "time": float(n), "step": n, "values": {"val/loss": value}}
            for n, value in enumerate(self._values(work)[: self._evaluations[work.name]], start=1)
        ]
        return Seen(Records(tuple(evals), 0), f"fake://{work.name}")

    def stop(self, work: Work) -> None:
        self._asked.add(work.name)

    def leave(self, work: Work) -> None:
        self.stop(work)

    def kill(self) -> None:
        self.killed = True

    def close(self) -> None:
        return None

    def _look(self, work: Work) -> Ended | None:
        if work.name in self._asked:
            return Ended("stopped")
        if work.name in self.failing:
            return Ended("failed", "it cannot be built")
        return Ended("done") if self._evaluations[work.name] >= len(self._values(work)) else None

    def _values(self, work: Work) -> Sequence[float]:
        found = dict(it.split("=", 1) for it in work.sets)
        return self.curve({key: json.loads(value or "null") for key, value in found.items()})
