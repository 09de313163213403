"""torch.distributed.checkpoint over ktrain's storage: commits that are whole or not there, checked bytes, no pickle needed.

    writer = Writer("s3://bucket/run")
    dcp.save(state, storage_writer=writer, checkpoint_id="100")  # also dcp.async_save
    dcp.load(state, storage_reader=Reader("s3://bucket/run"), planner=LoadPlanner())

What is written is a checkpoint like any other: `ktrain checkpoints verify` and `export` work on it.
"""

from ktrain_trainer.dcp.reader import LoadPlanner, Reader
from ktrain_trainer.dcp.writer import Writer

__all__ = ["LoadPlanner", "Reader", "Writer"]
