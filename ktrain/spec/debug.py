"""Looking for mistakes: what to switch on for a run that does not learn."""

from ktrain.spec.base import Model, setting


class Debug(Model):
    """Checks of a run that does not learn; all of them off, and free then."""

    overfit_batches: int = setting(
        0, resume="warn", doc="train on the first so many batches again and again; 0: on all", ge=0, le=1_000_000
    )
    check_grads: bool = setting(
        False, resume="free", doc="at each log step: parameters without gradient, not finite ones, norms per module"
    )
    dump_batch: int | None = setting(
        None, resume="free", doc="keep the batch of this step, counted from 1, of each rank in the run's storage", ge=1
    )
