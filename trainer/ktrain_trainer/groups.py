"""Which parameter gets which weight decay and which share of the learning rate, by its name."""

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ktrain.errors import BuildError
from ktrain.spec.optim import Optim, Rule


@dataclass(frozen=True, slots=True)
class Terms:
    """Of one parameter."""

    weight_decay: float | None  # None: the optimizer knows no such thing
    lr_scale: float


def terms(spec: Optim, params: Sequence[tuple[str, int]], weight_decay: float | None) -> dict[str, Terms]:
    """By name, of parameters with names and dimensions; weight_decay is the optimizer's own. BuildError for rules that match nothing."""
    names = [name for name, _ in params]
    check_rules(spec.rules, names)
    depth = depths(names)
    deepest = max(depth.values(), default=0)
    found = {}
    for name, dims in params:
        decay = None if weight_decay is None else 0.0 if is_free(name, dims, spec.no_decay) else weight_decay
        given = _first(spec.rules, name, "weight_decay")
        if given is not None and weight_decay is None:
            raise BuildError("the optimizer takes no weight_decay, which optim.rules gives", "spec.trainer.optim.rules")
        scale = (_first(spec.rules, name, "lr_scale") or 1.0) * (spec.layer_decay or 1.0) ** (deepest - depth[name])
        found[name] = Terms(decay if given is None else given, scale)
    return found


def is_free(name: str, dims: int, no_decay: str | tuple[str, ...]) -> bool:
    """Whether it goes without decay; `auto`: biases, norms and every other parameter of fewer than two dimensions."""
    if no_decay == "auto":
        return dims < 2
    return no_decay != "none" and any(re.search(pattern, name) for pattern in no_decay)


def depths(names: Iterable[str]) -> dict[str, int]:
    """How deep each parameter lies: numbered blocks in order, what comes before, between or behind them one layer each."""
    found: dict[str, int] = {}
    last, depth = None, -1
    for name in names:
        numbered = re.match(r"(.*?(?:^|\.)\d+)\.", name)
        block = numbered[1] if numbered else ""
        if block != last:
            last, depth = block, depth + 1
        found[name] = depth
    return found


def check_rules(rules: Iterable[Rule], names: Sequence[str]) -> None:
    """BuildError for a rule that matches no parameter."""
    for at, rule in enumerate(rules):
        if not any(re.search(rule.match, name) for name in names):
            near = difflib.get_close_matches(rule.match, names, n=1, cutoff=0.3) or names[:1]
            raise BuildError(
                f"{rule.match!r} matches no parameter; the model has {len(names)}, such as {', '.join(near)}",
                f"spec.trainer.optim.rules[{at}].match",
            )


def _first(rules: Iterable[Rule], name: str, key: str) -> float | None:
    matching = (getattr(rule, key) for rule in rules if re.search(rule.match, name))
    return next((value for value in matching if value is not None), None)
