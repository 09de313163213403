"""Tasks by name, and from a job's spec to its task."""

from typing import Any, Final

from ktrain.spec.task import TaskSpec
from ktrain_trainer import build, losses
from ktrain_trainer.losses import LOSSES as LOSSES
from ktrain_trainer.losses import LossFunction as LossFunction
from ktrain_trainer.tasks import detection, distill, multi_task
from ktrain_trainer.tasks.causal_lm import CausalLM as CausalLM
from ktrain_trainer.tasks.out import Out as Out
from ktrain_trainer.tasks.out import Seen as Seen
from ktrain_trainer.tasks.out import Task as Task
from ktrain_trainer.tasks.supervised import FirstLook
from ktrain_trainer.tasks.supervised import Supervised as Supervised

_WHERE: Final = "spec.trainer.task"


def make(spec: TaskSpec) -> Task:
    """The task of a job; BuildError names the key that is wrong."""
    if ":" in spec.use:
        own: Task = build.construct(spec, _WHERE)
        return own
    return _BY_NAME[spec.use](spec)


def _supervised(spec: TaskSpec) -> Task:
    build.check_args(_no_arguments, spec.args, f"{_WHERE}.args")
    supervised = _with_loss(spec)
    return FirstLook(supervised) if spec.loss.use == "cross_entropy" else supervised


def _with_loss(spec: TaskSpec) -> Supervised:
    kind, args = losses.find(spec.loss)
    return Supervised(kind.function, args, kind.over_classes, kind)


def _causal_lm(spec: TaskSpec) -> Task:
    return _checked(CausalLM, spec)


def _multi_task(spec: TaskSpec) -> Task:
    return _checked(multi_task.make, spec)


def _detection(spec: TaskSpec) -> Task:
    return _checked(detection.Detection, spec)


def _distill(spec: TaskSpec) -> Task:
    supervised = _with_loss(spec)
    build.check_args(distill.make, {"supervised": supervised, **spec.args}, f"{_WHERE}.args")
    return distill.make(supervised, **spec.args)


def _checked(made: Any, spec: TaskSpec) -> Task:
    build.check_args(made, spec.args, f"{_WHERE}.args")
    task: Task = made(**spec.args)
    return task


def _no_arguments() -> None:
    """The supervised task is told by its loss."""


_BY_NAME: Final = {
    "supervised": _supervised, "causal_lm": _causal_lm, "multi_task": _multi_task, "distill": _distill,
    "detection": _detection,
}  # fmt: skip
