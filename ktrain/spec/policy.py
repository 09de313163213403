"""What the controller has to know of a job: written into an annotation by `render`, and read from there."""

from functools import lru_cache
from typing import Final, Self

from ktrain.spec import platform as p
from ktrain.spec.base import Model, setting
from ktrain.spec.job import JobSpec
from ktrain.units import Time

_KNOWN: Final = 4096  # policies of jobs, most of which are alike


class Policy(Model):
    """The part of JobSpec that is kept while the job runs, and may be changed in place."""

    nodes: int | p.Elastic = setting(resume="free", doc="as in the job file")
    preemption: p.Preemption = setting(p.Preemption(), resume="free", doc="as in the job file")
    restart: p.Restart = setting(p.Restart(), resume="free", doc="as in the job file")
    hang: p.Hang = setting(p.Hang(), resume="free", doc="as in the job file")
    deadline: Time | None = setting(None, resume="free", doc="as in the job file")
    ttl: Time = setting("7d", resume="free", doc="as in the job file", validate_default=True)
    autoscale: p.Autoscale | None = setting(None, resume="free", doc="as in the job file")

    @classmethod
    def of(cls, spec: JobSpec) -> Self:
        """Of a job's spec."""
        return cls(**{name: getattr(spec, name) for name in cls.model_fields})

    def encode(self) -> str:
        """The annotation's value: every key, so that its meaning does not change with a later default."""
        return self.model_dump_json(by_alias=True)


@lru_cache(_KNOWN)
def read_policy(text: str) -> Policy:
    """Reads an annotation, also of a newer ktrain, whose new keys are passed over; raises ValueError."""
    return Policy.model_validate_json(text, extra="ignore")
