"""What is done to a sample before it goes into a batch, and how samples become a batch."""

from typing import Literal, Self

from pydantic import model_validator

from ktrain.spec.base import Model, setting
from ktrain.spec.common import Args, Target
from ktrain.spec.dataset import Column

OnError = Literal["raise", "skip", "retry"]


class Transform(Model):
    """One change of a sample."""

    name: str | None = setting(
        None, resume="refuse", doc="of torchvision.transforms.v2, or swap_words, drop_words, repeat_words; or use",
        min_length=1, max_length=100,
    )  # fmt: skip
    use: Target | None = setting(
        None, resume="refuse", doc="factory of your own: called with args, gives sample → sample"
    )
    args: Args = setting({}, resume="refuse", doc="keyword arguments")
    on: Column | None = setting(
        None,
        resume="refuse",
        doc="the part that is changed: input, target or a key; none: the whole sample, text: input",
    )

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if (self.name is None) == (self.use is None):
            raise ValueError(
                f"has {'both' if self.name else 'neither'} name {'and' if self.name else 'nor'} use; give one"
            )
        return self


Transforms = tuple[Transform, ...]


class PerSplit(Model):
    """Changes of the samples of each split; none of them reaches another split."""

    train: Transforms = setting((), resume="refuse", doc="in this order; random ones are keyed by seed and position")
    val: Transforms = setting((), resume="warn", doc="of validation samples")
    test: Transforms | None = setting(None, resume="free", doc="of test samples; none: as val")


class Collate(Model):
    """How samples become a batch."""

    use: Literal["pad"] | Target = setting(resume="refuse", doc="pad, or the factory of your own collate function")
    args: Args = setting({}, resume="refuse", doc="keyword arguments; of pad: value, labels, multiple, mask")
