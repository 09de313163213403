"""The matrix of everything that keeps a state: each entry of the registries by stop and resume by another number of ranks.

A registry's entry without a case here fails. To bring another registry in: its cases into a table, and a line in COVERED.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ktrain.spec.schedule import KEYS as SCHEDULES
from ktrain_trainer.optim import OPTIMIZERS
from tests.ranks import run_ranks, values
from tests.trainer.matrix import STEPS, Entry, Found

PLAIN: Mapping[str, Any] = {"lr": 1e-2, "name": "sgd", "args": {"momentum": 0.9}}
OFTEN = {"every": "2step", "maxSamples": 16}

OF_SCHEDULES = {
    "constant": Entry({"schedule": {"name": "constant", "warmup": "6step"}}),
    "linear": Entry({"schedule": {"name": "linear"}}),
    "cosine": Entry({"schedule": {"name": "cosine", "warmup": "2step"}}),
    "cosine_restarts": Entry(
        {"schedule": {"name": "cosine_restarts", "period": "3step", "mult": 2, "warmup": "1step", "decay": 0.5}}
    ),
    "step": Entry({"schedule": {"name": "step", "every": "3step"}}),
    "multistep": Entry({"schedule": {"name": "multistep", "milestones": ["2step", "6step"]}}),
    "exponential": Entry({"schedule": {"name": "exponential", "every": "1step", "gamma": 0.8}}),
    "polynomial": Entry({"schedule": {"name": "polynomial", "power": 2}}),
    "inverse_sqrt": Entry({"schedule": {"name": "inverse_sqrt", "warmup": "3step"}}),
    "wsd": Entry({"schedule": {"name": "wsd", "warmup": "2step", "cooldown": "5step", "shape": "sqrt"}}),
    "onecycle": Entry({"schedule": {"name": "onecycle"}}),
    "plateau": Entry(
        {
            "schedule": {"name": "plateau", "threshold": 0.9, "patience": 1, "gamma": 0.5},
            "eval": {"every": "1step", "maxSamples": 16},
        }
    ),
    "use: CyclicLR": Entry(
        {
            "optim": {"lr": 1e-2, "name": "sgd", "args": {"momentum": 0.9}},
            "schedule": {
                "use": "torch.optim.lr_scheduler:CyclicLR",
                "args": {"base_lr": 1e-3, "max_lr": 1e-2, "step_size_up": 3},
            },
        }
    ),
}

OF_OPTIMIZERS = {
    "adamw": Entry({"optim": {"lr": 1e-2, "name": "adamw"}}),
    "adam": Entry({"optim": {"lr": 1e-2, "name": "adam", "args": {"amsgrad": True}}}),
    "sgd": Entry({"optim": {"lr": 1e-2, "name": "sgd", "args": {"momentum": 0.9, "nesterov": True}}}),
    "lion": Entry({"optim": {"lr": 1e-3, "name": "lion", "args": {"weight_decay": 0.1}}}),
    "muon": Entry({"optim": {"lr": 1e-2, "name": "muon", "args": {"adamw": {"weight_decay": 0.1}}}}, deep=True),
    "schedulefree_adamw": Entry({"optim": {"lr": 1e-2, "name": "schedulefree_adamw"}, "eval": OFTEN}),
    "schedulefree_sgd": Entry({"optim": {"lr": 1e-2, "name": "schedulefree_sgd"}, "eval": OFTEN}),
    "use": Entry({"optim": {"lr": 1e-2, "use": "torch.optim:Adamax", "args": {"weight_decay": 0.1}}}),
}

OTHERS = {
    "rules": Entry(
        {
            "optim": {
                **PLAIN,
                "layerDecay": 0.8,
                "rules": [
                    {"match": "^0", "lrScale": 0.1, "frozenUntil": "5step"},
                    {"match": "weight", "weightDecay": 0.3},
                ],
                "lrScale": {"rule": "sqrt", "baseBatch": 8},
            }
        }
    ),
    "adaptive clipping": Entry({"optim": {**PLAIN, "clip": {"adaptive": 0.01}}}),
    "clipping by value": Entry({"optim": {**PLAIN, "clip": {"value": 0.01}}}),
    "ema": Entry({"optim": {**PLAIN, "ema": {"decay": 0.9, "every": "2step"}}, "eval": {**OFTEN, "weights": "ema"}}),
    "fp16": Entry({"optim": PLAIN, "precision": "fp16"}, dtype="float32"),
}
OTHERS |= {
    f"{name} in shards": replace(OTHERS[name], strategy="fsdp2") for name in ("rules", "adaptive clipping", "ema")
}

FAMILIES: Mapping[str, Mapping[str, Entry]] = {
    "schedules": {f"schedule {name}": entry for name, entry in OF_SCHEDULES.items()},
    "optimizers": {f"optimizer {name}": entry for name, entry in OF_OPTIMIZERS.items()},
    "optimizers in shards": {f"optimizer {name}": replace(it, strategy="fsdp2") for name, it in OF_OPTIMIZERS.items()},
    "what is done on the way": OTHERS,
}
CASES: Mapping[str, Entry] = {name: entry for family in FAMILIES.values() for name, entry in family.items()}
COVERED: list[tuple[str, Collection[str]]] = [("schedule", SCHEDULES), ("optimizer", OPTIMIZERS)]


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_each_is_resumed_bit_exactly_and_at_another_number_of_ranks_alike(tmp_path: Path, family: str) -> None:
    entries = FAMILIES[family]
    found: dict[str, Found] = values(
        run_ranks("tests.trainer.matrix:exercise", 2, entries, str(tmp_path), timeout=280)
    )[0]
    assert {name: it for name, it in found.items() if not is_as_promised(entries[name], it)} == {}


def is_as_promised(entry: Entry, found: Found) -> bool:
    # float64: the order of sums alone; in fp16 that may round a weight the other way
    tolerance = 1e-9 if entry.dtype == "float64" else 1e-5
    was_stopped = 0 < found.stopped_at < STEPS and found.moved > 1e-5  # there was something to lose
    return was_stopped and found.is_exact and max(found.fewer, found.more) <= tolerance


@pytest.mark.parametrize(("kind", "registry"), COVERED, ids=[kind for kind, _ in COVERED])
def test_every_entry_of_a_registry_has_a_case(kind: str, registry: Collection[str]) -> None:
    missing = [name for name in registry if f"{kind} {name}" not in CASES]
    assert not missing
