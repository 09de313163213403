"""What no run needs is not imported: torch's compiler, and sympy with it, would take each rank longer than torch itself."""

import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
HEAVY: Final = ("torch._dynamo", "sympy", "torch.distributed.tensor")

FIT: Final = """
from tests.trainer.test_fit import fit
fit(duration="3step")
"""
SCRIPT: Final = """
import torch
import ktrain_trainer as ktrain
run = ktrain.init()
model = torch.nn.Linear(2, 2)
replica = run.replicate(model)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
for _ in range(2):
    optimizer.zero_grad()
    replica(torch.ones(1, 2)).sum().backward()
    optimizer.step()
optimizer.load_state_dict(optimizer.state_dict())
"""
NUMBERS: Final = """
import copy
import torch
from ktrain_trainer.uncompiled import spare_compiler
def train(kind, **args):
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 3)
    optimizer = kind(model.parameters(), lr=0.1, **args)
    for _ in range(3):
        optimizer.zero_grad()
        model(torch.ones(1, 3)).square().sum().backward()
        optimizer.step()
        assert torch.is_grad_enabled()
    optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    return [it.detach().clone() for it in model.parameters()]
KINDS = [getattr(torch.optim, name) for name in ("Adam", "AdamW", "SGD", "RMSprop", "Adagrad", "NAdam")]
spare_compiler()
spare_compiler()
spared = [train(kind) for kind in KINDS]
assert "torch._dynamo" not in sys.modules
import torch._dynamo
guarded = [train(kind) for kind in KINDS]
assert all(map(torch.equal, sum(spared, []), sum(guarded, [])))
compiled = torch.nn.Linear(2, 2)
optimizer = torch.optim.SGD(compiled.parameters(), lr=0.5)
compiled(torch.ones(1, 2)).sum().backward()
before = compiled.weight.clone()
torch.compile(optimizer.step, backend="eager")()
assert torch.equal(compiled.weight, before - 0.5 * compiled.weight.grad)
"""


def run(code: str) -> set[str]:
    """Runs it in a new interpreter; which of the heavy modules it has at its end."""
    code = f"import sys\n{code}\nprint(*[it for it in {HEAVY!r} if it in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split("\n")[-2].split())


@pytest.mark.parametrize("code", [FIT, SCRIPT], ids=["fit", "script"])
def test_training_imports_no_compiler(code: str) -> None:
    assert run(code) == set()


@pytest.mark.slow
def test_the_numbers_are_the_same_without_and_who_compiles_an_optimizer_still_can() -> None:
    assert "torch._dynamo" in run(NUMBERS)
