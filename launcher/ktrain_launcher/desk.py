"""What is there before torch is."""

from dataclasses import dataclass

from ktrain.spec import TrainingJob
from ktrain.voice import Say
from ktrain_launcher.board import Board
from ktrain_launcher.gate import Gate
from ktrain_launcher.hang import Watch
from ktrain_launcher.places import Places
from ktrain_launcher.pod import Pod
from ktrain_launcher.stop import Stop
from ktrain_launcher.tally import Tally


@dataclass(frozen=True, slots=True)
class Desk:
    """Where the launcher is, what it runs, and whom it tells."""

    pod: Pod
    job: TrainingJob
    places: Places
    gate: Gate
    board: Board
    watch: Watch
    tally: Tally
    stop: Stop
    say: Say
    launched: float  # Unix seconds

    @property
    def nproc(self) -> int:
        """Ranks of this pod."""
        return self.pod.nproc or self.job.spec.ranks_per_node

    def pause(self, seconds: float) -> bool:
        """Sleeps as one who is alive; whether we are told to stop."""
        return self.stop.wait(seconds, until=self.tally.tick)
