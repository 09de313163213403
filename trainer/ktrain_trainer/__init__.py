"""ktrain's trainer: `fit` for notebooks, `init` for scripts, and what a `job.yaml` may name.

import ktrain_trainer as ktrain
run = ktrain.init()
"""

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from ktrain_trainer.notebook import Fitted as Fitted
    from ktrain_trainer.notebook import fit as fit
    from ktrain_trainer.script import ScriptRun as ScriptRun
    from ktrain_trainer.script import init as init
    from ktrain_trainer.task import CausalLM as CausalLM
    from ktrain_trainer.task import Out as Out
    from ktrain_trainer.task import Seen as Seen
    from ktrain_trainer.task import Supervised as Supervised
    from ktrain_trainer.task import Task as Task

_HOMES: Final = {
    "fit": "notebook", "Fitted": "notebook", "init": "script", "ScriptRun": "script",
    "CausalLM": "task", "Out": "task", "Seen": "task", "Supervised": "task", "Task": "task",
}  # fmt: skip

__all__ = ["CausalLM", "Fitted", "Out", "ScriptRun", "Seen", "Supervised", "Task", "fit", "init"]


def __getattr__(name: str) -> Any:
    """Imported when asked for: `python -m ktrain_trainer` must set the threads before torch is loaded."""
    if name not in _HOMES:
        raise AttributeError(f"ktrain_trainer has no {name!r}; it has {', '.join(__all__)}")
    return getattr(importlib.import_module(f"ktrain_trainer.{_HOMES[name]}"), name)
