"""optuna's samplers and pruners by name."""

from collections.abc import Callable
from typing import Any, Final

from ktrain.errors import SpecError
from ktrain.extras import require
from ktrain.spec.tune import Tune
from ktrain.tune.extra import need
from ktrain.tune.space import grid

_PATIENCE: Final = 3


def make_sampler(tune: Tune, *, begun: int = 0) -> Any:
    """`begun` trials were drawn by earlier sessions: a generator that began anew would draw them again."""
    it = need("optuna.samplers")
    seed = tune.seed * 1_000_003 + begun
    makers: dict[str, Callable[..., Any]] = {
        "tpe": lambda **args: it.TPESampler(**{"seed": seed, "constant_liar": tune.parallel > 1, **args}),
        "random": lambda **args: it.RandomSampler(**{"seed": seed, **args}),
        "grid": lambda **args: _grid(it.GridSampler(grid(tune.space), **{"seed": tune.seed, **args})),
        "qmc": lambda **args: it.QMCSampler(
            **{"seed": tune.seed, "scramble": True, "warn_independent_sampling": False, **args}
        ),
        "gp": lambda **args: _gp(it, {"seed": seed, **args}),
    }
    return _made(makers[tune.sampler], tune.sampler_args, "spec.tune.samplerArgs", tune.sampler)


def make_pruner(tune: Tune) -> Any:
    """A step of a pruner is an evaluation, whatever the number of optimizer steps between two."""
    it = need("optuna.pruners")
    makers: dict[str, Callable[..., Any]] = {
        "none": it.NopPruner,
        "median": it.MedianPruner,
        "hyperband": it.HyperbandPruner,
        "patient": lambda **args: it.PatientPruner(None, **{"patience": _PATIENCE, **args}),
        "wilcoxon": it.WilcoxonPruner,
    }
    return _made(makers[tune.pruner], tune.pruner_args, "spec.tune.prunerArgs", tune.pruner)


def _made(maker: Callable[..., Any], args: dict[str, Any], where: str, name: str) -> Any:
    try:
        return maker(**args)
    except (TypeError, ValueError) as error:
        raise SpecError(f"optuna refuses these for {name}: {error}", where) from error


def _grid(sampler: Any) -> Any:
    """After its last point it would stop the loop of `optimize`, which is not the one that asks here."""
    sampler.after_trial = lambda *_: None
    return sampler


def _gp(samplers: Any, args: dict[str, Any]) -> Any:
    require("torch", "trainer", "the sampler gp")
    return samplers.GPSampler(**args)
