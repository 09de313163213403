"""The loop over jobs: who is told to go, and how often."""

from dataclasses import dataclass, field

from ktrain.tune.drive import Drive
from ktrain.tune.work import NOTHING, Ended, Seen, Work


@dataclass
class Slow:
    """A place whose one job takes three looks to leave once it is told."""

    told: list[str] = field(default_factory=list)
    looks: int = 0

    def start(self, work: Work, slot: int) -> None:
        self.told.append("start")

    def look(self, work: Work) -> Ended | None:
        self.looks += "stop" in self.told or "leave" in self.told
        return Ended("stopped") if self.looks > 3 or "kill" in self.told else None

    def see(self, work: Work) -> Seen:
        return NOTHING

    def stop(self, work: Work) -> None:
        self.told.append("stop")

    def leave(self, work: Work) -> None:
        self.told.append("leave")

    def kill(self) -> None:
        self.told.append("kill")

    def close(self) -> None:
        return None


@dataclass
class GivesUp:
    """One job, which is given up whenever it is looked at."""

    left: int = 1
    gives_up: bool = True
    ends: list[str] = field(default_factory=list)

    def next(self) -> Work | None:
        self.left -= 1
        return Work("demo-t0", ()) if self.left >= 0 else None

    def seen(self, work: Work, seen: Seen) -> bool:
        return self.gives_up

    def ended(self, work: Work, ended: Ended, seen: Seen) -> None:
        self.ends.append(ended.how)


@dataclass
class Hand:
    """Sends its signals one a round."""

    count: int = 0
    most: int = 0

    def __call__(self, _seconds: float) -> None:
        self.count = min(self.count + 1, self.most)


def run(plan: GivesUp, hand: Hand) -> tuple[list[str], bool]:
    jobs, now = Slow(), iter(range(1000))
    is_over = Drive(plan, jobs, 1, hand, lambda _: None, clock=lambda: float(next(now)), sleep=hand).run()
    return jobs.told, is_over


def test_a_job_that_is_given_up_is_told_once_however_long_it_takes() -> None:
    assert run(GivesUp(), Hand()) == (["start", "stop"], True)


def test_a_job_that_is_given_up_already_is_not_told_again_by_an_interrupt() -> None:
    """A second SIGTERM would end it before it has saved."""
    assert run(GivesUp(), Hand(most=1)) == (["start", "stop"], False)


def test_an_interrupt_lets_a_job_go_and_a_second_one_ends_it() -> None:
    plan = GivesUp(gives_up=False)
    assert run(plan, Hand(most=1)) == (["start", "leave"], False)
    assert plan.ends == ["stopped"]
    assert run(GivesUp(gives_up=False), Hand(most=2))[0][:3] == ["start", "leave", "kill"]
