"""Ways to save and restore the same state, each at its best settings; all ranks make the same calls."""

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import boto3
import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from boto3.s3.transfer import TransferConfig
from torch import nn
from torch.distributed.checkpoint.default_planner import DefaultSavePlanner
from torch.distributed.checkpoint.staging import DefaultStager, StagingOptions
from torch.distributed.checkpoint.state_dict import get_state_dict
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.optim import Optimizer

from ktrain.history import Token, claim_epoch
from ktrain.storage.s3 import S3Storage
from ktrain_trainer.checkpoint import Checkpointer, Retention, World

BUCKET: Final = "bucket"
REGION: Final = "us-east-1"
PART_BYTES: Final = 16 << 20
IsDurable = Callable[[], bool]


class Way:
    """One way. `save` returns when training may go on, with a function that says whether the checkpoint is durable."""

    def __init__(self, model: nn.Module, optimizer: Optimizer, endpoint: str) -> None:
        self.model, self.optimizer, self.endpoint = model, optimizer, endpoint
        self.rank, self.size = dist.get_rank(), dist.get_world_size()
        self.open()

    def open(self) -> None:
        """Connects, and whatever else need not be timed; after the optimizer's first step."""

    def save(self, step: int) -> IsDurable:
        """Begins a checkpoint."""
        raise NotImplementedError

    def fence(self) -> None:
        """Before the update."""

    def restore(self, step: int) -> None:
        """Into the tensors of model and optimizer."""
        raise NotImplementedError

    def close(self) -> None:
        """Waits for what is under way."""

    @property
    def state(self) -> dict[str, Any]:
        """Sharded, by name; the tensors themselves."""
        model, optimizer = get_state_dict(self.model, self.optimizer)
        return {"model": model, "optimizer": optimizer}


class Ktrain(Way):
    """The Checkpointer, as the trainer uses it."""

    native = True

    def open(self) -> None:
        self.storage = S3Storage(BUCKET, "run", endpoint=self.endpoint, region=REGION, native=self.native)
        store = dist.distributed_c10d._get_default_store()
        if self.rank == 0:
            store.set("token", claim_epoch(self.storage, attempt=1).prefix)
        token = Token.parse(store.get("token").decode())
        world = World.from_store(store, rank=self.rank, size=self.size)
        self.checkpointer = Checkpointer(self.storage, token, world, run="run", retention=Retention(last=9))
        self.checkpointer.warm(self.model, self.optimizer)

    def save(self, step: int) -> IsDurable:
        return self.checkpointer.save(step, self.model, self.optimizer, {}, overlap=True).done

    def fence(self) -> None:
        self.checkpointer.fence()

    def restore(self, step: int) -> None:
        restored = self.checkpointer.restore(self.model, self.optimizer)
        assert restored is not None
        assert restored.step == step

    def close(self) -> None:
        self.checkpointer.close()


class KtrainBoto3(Ktrain):
    """Without the extra s3."""

    native = False


class TorchSave(Way):
    """Everything to rank 0, torch.save, boto3's managed upload."""

    def open(self) -> None:
        self.client = boto3.client("s3", endpoint_url=self.endpoint, region_name=REGION)
        self.config = TransferConfig(multipart_chunksize=PART_BYTES, max_concurrency=16)

    def save(self, step: int) -> IsDurable:
        full = _map(self.state, lambda it: it.full_tensor() if isinstance(it, DTensor) else it)
        if self.rank == 0:
            self.write(full, step)
        dist.barrier()
        return lambda: True

    def write(self, full: Any, step: int) -> None:
        """What was gathered, on rank 0."""
        file = io.BytesIO()
        torch.save(full, file)
        file.seek(0)
        self.client.upload_fileobj(file, BUCKET, f"torch/{step}.pt", Config=self.config)

    def restore(self, step: int) -> None:
        file = io.BytesIO()
        self.client.download_fileobj(BUCKET, f"torch/{step}.pt", file, Config=self.config)
        file.seek(0)
        _fill(self.state, torch.load(file, weights_only=True))


class Lightning(TorchSave):
    """What Fabric and the Trainer do with a sharded model unless told otherwise: gather, and their own writer through fsspec."""

    def write(self, full: Any, step: int) -> None:
        self.io.save_checkpoint(full, f"s3://{BUCKET}/lightning/{step}.ckpt")

    def restore(self, step: int) -> None:
        _fill(self.state, self.io.load_checkpoint(f"s3://{BUCKET}/lightning/{step}.ckpt"))

    @property
    def io(self) -> Any:
        """Lightning's own."""
        from lightning.fabric.plugins.io import TorchCheckpointIO

        return TorchCheckpointIO()


class Accelerate(TorchSave):
    """It writes to a folder (here in memory); what follows is what its users write: boto3's managed upload."""

    def write(self, full: Any, step: int) -> None:
        from accelerate.utils import save

        file = Path(f"/dev/shm/accelerate-{os.getpid()}.pt")
        save(full, str(file), safe_serialization=False)
        self.client.upload_file(str(file), BUCKET, f"torch/{step}.pt", Config=self.config)
        file.unlink()


class Dcp(Way):
    """torch.distributed.checkpoint, sync, over s3fs."""

    is_async = False
    prefix = "s3fs"

    def open(self) -> None:
        self.group = dist.new_group(backend="gloo")
        # A long-lived stager keeps its memory; the default is a new one each time.
        self.stager = DefaultStager(StagingOptions(False, False, False, False))
        self.planner = DefaultSavePlanner(enable_plan_caching=True)

    def save(self, step: int) -> IsDurable:
        given: dict[str, Any] = {
            "storage_writer": self.writer(step),
            "planner": self.planner,
            "process_group": self.group,
        }
        if not self.is_async:
            dcp.save(self.state, **given)
            return lambda: True
        future: Any = dcp.async_save(self.state, async_stager=self.stager, **given)
        return future.done  # type: ignore[no-any-return]

    def restore(self, step: int) -> None:
        dcp.load(self.state, storage_reader=self.reader(step))

    def writer(self, step: int) -> Any:
        """For one checkpoint."""
        from torch.distributed.checkpoint.fsspec_filesystem import FsspecWriter

        # One file of each rank after the other is what it does by default; four at once was faster here.
        return FsspecWriter(f"s3://{BUCKET}/{self.prefix}/{step}", thread_count=4, endpoint_url=self.endpoint)

    def reader(self, step: int) -> Any:
        """For one checkpoint."""
        from torch.distributed.checkpoint.fsspec_filesystem import FsspecReader

        return FsspecReader(f"s3://{BUCKET}/{self.prefix}/{step}", endpoint_url=self.endpoint)


class DcpAsync(Dcp):
    """In a thread, over s3fs."""

    is_async = True


class Connector(Dcp):
    """torch.distributed.checkpoint, sync, over s3torchconnector; its endpoint comes from the environment."""

    prefix = "s3tc"

    def writer(self, step: int) -> Any:
        from s3torchconnector import S3ClientConfig
        from s3torchconnector.dcp import S3StorageWriter

        config = S3ClientConfig(force_path_style=True, part_size=PART_BYTES)
        return S3StorageWriter(REGION, f"s3://{BUCKET}/{self.prefix}/{step}", config, thread_count=4)

    def reader(self, step: int) -> Any:
        from s3torchconnector import S3ClientConfig
        from s3torchconnector.dcp import S3StorageReader

        config = S3ClientConfig(force_path_style=True, part_size=PART_BYTES)
        return S3StorageReader(REGION, f"s3://{BUCKET}/{self.prefix}/{step}", config)


class ConnectorAsync(Connector):
    """In a thread, over s3torchconnector."""

    is_async = True


WAYS: Final[dict[str, type[Way]]] = {
    "ktrain": Ktrain,
    "ktrain, boto3": KtrainBoto3,
    "torch.save": TorchSave,
    "accelerate": Accelerate,
    "lightning": Lightning,
    "dcp s3fs": Dcp,
    "dcp s3fs async": DcpAsync,
    "dcp s3tc": Connector,
    "dcp s3tc async": ConnectorAsync,
}


def set_environment(endpoint: str) -> None:
    """What clients read that take no endpoint."""
    os.environ |= {"AWS_ENDPOINT_URL": endpoint, "AWS_REGION": REGION, "AWS_DEFAULT_REGION": REGION}


def _map(tree: Any, act: Callable[[Any], Any]) -> Any:
    if isinstance(tree, dict):
        return {key: _map(value, act) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_map(value, act) for value in tree]
    return act(tree)


def _fill(live: Any, loaded: Any) -> None:
    if isinstance(live, dict):
        for key in live:
            _fill(live[key], loaded[key])
    elif isinstance(live, list):
        for here, there in zip(live, loaded, strict=True):
            _fill(here, there)
    elif isinstance(live, DTensor):
        live.copy_(distribute_tensor(loaded, live.device_mesh, live.placements))
    elif isinstance(live, torch.Tensor):
        live.copy_(loaded)
