"""A study run by a command: it hears the terminal's signals, and leaves its jobs in order."""

from collections.abc import Callable

from ktrain.local.run import Interrupts
from ktrain.names import CliExit
from ktrain.tune.drive import TICK, Drive, Plan
from ktrain.tune.work import Jobs


def attend(plan: Plan, jobs: Jobs, parallel: int, tell: Callable[[str], None], *, tick: float = TICK) -> CliExit | None:
    """None when the plan came to its end; the command's exit code when somebody stopped it."""
    interrupts = Interrupts()
    try:
        is_over = Drive(plan, jobs, parallel, interrupts, tell, tick=tick).run()
    finally:
        jobs.close()
        interrupts.restore()
    return None if is_over else interrupts.exit
