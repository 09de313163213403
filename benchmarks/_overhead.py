"""One run of one framework on the tiny MLP, started by step_overhead.py: `python _overhead.py FRAMEWORK STEPS FILE`.

The time is taken in the collate function, the same place for everybody; when all steps are stamped, they are written.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, Dataset, DistributedSampler

BATCH = 32
SIZE = 4096
RANK, WORLD = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
INPUTS = torch.randn(SIZE, 64, generator=torch.Generator().manual_seed(0))
TARGETS = torch.randint(0, 10, (SIZE,), generator=torch.Generator().manual_seed(1))


class Indices(Dataset):
    """Gives back the indices: the data lies in memory."""

    def __len__(self) -> int:
        return SIZE

    def __getitem__(self, index: int) -> int:
        return index

    def __getitems__(self, indices: list[int]) -> list[int]:
        return indices


class Stamps:
    """A collate function that notes the time; writes the notes once there are enough."""

    def __init__(self, steps: int, file: str, *, as_dict: bool = False) -> None:
        self.steps, self.file, self.as_dict = steps, file, as_dict
        self.notes: list[tuple[float, float]] = []

    def __call__(self, indices: list[int]) -> Any:
        self.notes.append((time.process_time(), time.perf_counter()))
        if len(self.notes) == self.steps and RANK == 0:
            Path(self.file).write_text(json.dumps(self.notes))
        at = torch.as_tensor(indices)
        return {"x": INPUTS[at], "labels": TARGETS[at]} if self.as_dict else (INPUTS[at], TARGETS[at])


def net() -> nn.Module:
    """64-64-64-10."""
    return nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))


def tools(model: nn.Module) -> tuple[Any, Any]:
    """Optimizer and schedule, the same for all."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, foreach=True)
    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, lambda _step: 1.0)


def loader(collate: Stamps, *, shared: bool) -> DataLoader:
    """shared: the framework does not split the data among ranks itself."""
    sampler = DistributedSampler(Indices()) if shared and WORLD > 1 else None
    return DataLoader(
        Indices(), batch_size=BATCH, shuffle=sampler is None, sampler=sampler, collate_fn=collate, drop_last=True
    )


def epochs(steps: int) -> int:
    """Enough of them."""
    return -(-steps // (SIZE // BATCH // WORLD)) + 1


def bare(steps: int, file: str, extras: frozenset[str] = frozenset()) -> None:
    """A plain torch loop; DDP when there are ranks. extras: ema and fp16, as torch has them."""
    model = net()
    average = torch.optim.swa_utils.AveragedModel(
        model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.999)
    ) if "ema" in extras else None  # fmt: skip
    if "fp16" in extras:
        scaled(steps, file, model, average)
        return
    if WORLD > 1:
        torch.distributed.init_process_group("gloo")
        model = nn.parallel.DistributedDataParallel(model)
    optimizer, schedule = tools(model)
    collate = Stamps(steps, file)
    batches = loader(collate, shared=True)
    while len(collate.notes) < steps:
        for x, y in batches:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            if average:
                average.update_parameters(model)


def scaled(steps: int, file: str, model: nn.Module, average: Any) -> None:
    """The same in fp16, with torch's own scaler."""
    optimizer, schedule = tools(model)
    collate = Stamps(steps, file)
    batches = loader(collate, shared=True)
    scaler = torch.amp.GradScaler("cpu")
    while len(collate.notes) < steps:
        for x, y in batches:
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.float16):
                loss = F.cross_entropy(model(x), y)
            scaler.scale(loss).backward()
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            scaler.step(optimizer)
            scaler.update()
            schedule.step()
            if average:
                average.update_parameters(model)


def fabric(steps: int, file: str) -> None:
    """Lightning Fabric."""
    from lightning.fabric import Fabric

    ours = Fabric(accelerator="cpu", devices=1, num_nodes=WORLD, strategy="ddp" if WORLD > 1 else "auto")
    ours.launch()
    model = net()
    optimizer, schedule = tools(model)
    model, optimizer = ours.setup(model, optimizer)
    collate = Stamps(steps, file)
    batches = ours.setup_dataloaders(loader(collate, shared=False))
    while len(collate.notes) < steps:
        for x, y in batches:
            optimizer.zero_grad()
            ours.backward(F.cross_entropy(model(x), y))
            ours.clip_gradients(model, optimizer, max_norm=1.0)
            optimizer.step()
            schedule.step()


def accelerate(steps: int, file: str) -> None:
    """Hugging Face Accelerate."""
    from accelerate import Accelerator

    ours = Accelerator(cpu=True)
    model = net()
    optimizer, schedule = tools(model)
    collate = Stamps(steps, file)
    model, optimizer, batches, schedule = ours.prepare(model, optimizer, loader(collate, shared=False), schedule)
    while len(collate.notes) < steps:
        for x, y in batches:
            optimizer.zero_grad()
            ours.backward(F.cross_entropy(model(x), y))
            ours.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()


def hf_trainer(steps: int, file: str) -> None:
    """Hugging Face Trainer, logging nothing."""
    import tempfile

    from transformers import Trainer, TrainingArguments

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net()

        def forward(self, x: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"loss": F.cross_entropy(self.net(x), labels)}

    model = Model()
    arguments = TrainingArguments(
        output_dir=tempfile.mkdtemp(), use_cpu=True, per_device_train_batch_size=BATCH, max_steps=steps + 1,
        logging_strategy="no", save_strategy="no", report_to=[], disable_tqdm=True, max_grad_norm=1.0,
        dataloader_drop_last=True, remove_unused_columns=False,
    )  # fmt: skip
    collate = Stamps(steps, file, as_dict=True)
    Trainer(model, arguments, train_dataset=Indices(), data_collator=collate, optimizers=tools(model)).train()


def lightning(steps: int, file: str) -> None:
    """Lightning Trainer, with everything off that it can do without."""
    import lightning as library

    class Module(library.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = net()

        def training_step(self, batch: Any, _index: int) -> torch.Tensor:
            return F.cross_entropy(self.net(batch[0]), batch[1])

        def configure_optimizers(self) -> Any:
            optimizer, schedule = tools(self.net)
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    trainer = library.Trainer(
        accelerator="cpu", devices=1, num_nodes=WORLD, strategy="ddp" if WORLD > 1 else "auto", logger=False,
        max_steps=steps + 1, max_epochs=-1, gradient_clip_val=1.0, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(Module(), loader(Stamps(steps, file), shared=False))


def collate_for_ktrain() -> Stamps:
    """Named by the job that step_overhead.py writes; ktrain itself runs by `python -m ktrain_trainer`."""
    return Stamps(int(os.environ["STEPS"]), os.environ["STAMPS"])


if __name__ == "__main__":
    torch.set_num_threads(1)
    framework, *more = sys.argv[1].split("+")
    globals()[framework](int(sys.argv[2]), sys.argv[3], *([frozenset(more)] if more else []))
    sys.stdout.flush()
    os._exit(0)  # gloo's threads can abort at a regular exit
