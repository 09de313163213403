"""A restore unpickles nothing: whoever can write to the bucket cannot run code in the job."""

import subprocess
import sys
from pathlib import Path

import pytest

import ktrain_trainer.checkpoint as package
from tests.checkpoint.goldens import FOLDER

SCRIPT = """
import pickle, sys
import torch
from tests.checkpoint.test_golden import reader
from tests.checkpoint.models import build

model, optimizer = build("plain", "tiny")
seen = []
sys.addaudithook(lambda event, args: seen.append((event, args)) if event.startswith(("pickle.", "marshal.")) else None)
for module in (pickle, torch):
    module.load = module.loads = None
pickle.Unpickler = pickle._Unpickler = None
restored = reader("two-ranks").restore(model, optimizer)
assert restored.step == 4
assert not [it for it in seen if it[0] == "pickle.find_class"], seen
import _pickle
_pickle.loads(b"cos\\ngetcwd\\n.")
assert [it for it in seen if it[0] == "pickle.find_class"], "the hook sees nothing"
"""


@pytest.mark.slow
def test_a_restore_unpickles_nothing() -> None:
    assert FOLDER.is_dir()
    done = subprocess.run([sys.executable, "-c", SCRIPT], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_load_path_does_not_name_pickle() -> None:
    sources = [path.read_text() for path in Path(package.__path__[0]).glob("*.py")]
    assert len(sources) > 10
    assert not [line for text in sources for line in text.splitlines() if "pickle" in line or "torch.load" in line]
