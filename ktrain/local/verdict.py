"""What is said of one promise of a run that was put to the test."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Verdict:
    """On one thing. ok None: there was nothing to look at."""

    name: str
    ok: bool | None
    told: str

    @property
    def line(self) -> str:
        """For people."""
        ok = {True: "ok", False: "FAILED", None: "-"}[self.ok]
        return f"{self.name:<10} {ok:<6}  {self.told}"
