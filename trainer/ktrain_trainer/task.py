"""Tasks by name, and from a job's spec to its task."""

from ktrain.spec.task import TaskSpec
from ktrain_trainer import build, losses
from ktrain_trainer.losses import LOSSES as LOSSES
from ktrain_trainer.losses import LossFunction as LossFunction
from ktrain_trainer.tasks.causal_lm import CausalLM as CausalLM
from ktrain_trainer.tasks.out import Out as Out
from ktrain_trainer.tasks.out import Seen as Seen
from ktrain_trainer.tasks.out import Task as Task
from ktrain_trainer.tasks.supervised import FirstLook
from ktrain_trainer.tasks.supervised import Supervised as Supervised

WHERE = "spec.trainer.task"


def make(spec: TaskSpec) -> Task:
    """The task of a job; BuildError names the key that is wrong."""
    if spec.use == "supervised":
        build.check_args(_no_arguments, spec.args, f"{WHERE}.args")
        supervised = make_supervised(spec)
        return FirstLook(supervised) if spec.loss.use == "cross_entropy" else supervised
    if spec.use == "causal_lm":
        build.check_args(CausalLM, spec.args, f"{WHERE}.args")
        return CausalLM(**spec.args)
    task: Task = build.construct(spec, WHERE)
    return task


def make_supervised(spec: TaskSpec) -> Supervised:
    """The supervised task with the job's loss."""
    kind, args = losses.find(spec.loss)
    return Supervised(kind.function, args, kind.over_classes, kind)


def _no_arguments() -> None:
    """The supervised task is told by its loss."""
