"""Trackers: where the metrics go beside the run's own JSON lines."""

import re
from collections.abc import Mapping
from typing import Final, Literal, Self
from urllib.parse import parse_qsl, urlsplit

from pydantic import field_validator, model_validator

from ktrain.spec import forms
from ktrain.spec.base import Model, setting

_SECRET: Final = re.compile(r"token|password|passwd|secret|api_?key", re.IGNORECASE)
_KEYS: Final[Mapping[str, frozenset[str]]] = {
    "jsonl": frozenset(),
    "tensorboard": frozenset(),
    "mlflow": frozenset({"uri", "experiment", "name", "tags"}),
    "wandb": frozenset({"mode", "project", "entity", "name", "tags", "notes"}),
}


class Track(Model):
    """A sink of metrics; which of the further keys it takes depends on its kind."""

    sink: Literal["jsonl", "tensorboard", "mlflow", "wandb"] = setting(resume="free", doc="kind of sink")
    uri: str | None = setting(
        None, resume="free", doc="mlflow: its server; none: $MLFLOW_TRACKING_URI", min_length=1, max_length=1000
    )
    experiment: str | None = setting(
        None, resume="free", doc="mlflow: name of the experiment; none: Default", min_length=1, max_length=500
    )
    mode: Literal["offline", "online", "disabled"] | None = setting(
        None, resume="free", doc="wandb: offline (the default) writes files for `wandb sync`, online sends at once"
    )
    project: str | None = setting(
        None,
        resume="free",
        doc="wandb: the project; none: the job's name",
        pattern=forms.PROJECT.pattern,
        max_length=128,
    )
    entity: str | None = setting(
        None, resume="free", doc="wandb: user or team; none: the key's own", min_length=1, max_length=128
    )
    name: str | None = setting(
        None, resume="free", doc="mlflow, wandb: name of the run; none: the job's", min_length=1, max_length=128
    )
    tags: dict[str, str] | tuple[str, ...] = setting(
        (), resume="free", doc="mlflow: a mapping; wandb: a list of words", max_length=100
    )
    notes: str | None = setting(None, resume="free", doc="wandb: a longer description", min_length=1, max_length=10_000)

    @field_validator("uri")
    @classmethod
    def _no_credentials(cls, uri: str | None) -> str | None:
        if uri is None:
            return None
        parts = urlsplit(uri)
        if "@" in parts.netloc or any(_SECRET.search(name) for name, _ in parse_qsl(parts.query)):
            raise ValueError(
                "the uri has credentials in it; take them out and give MLFLOW_TRACKING_TOKEN (or MLFLOW_TRACKING_USERNAME and "
                "MLFLOW_TRACKING_PASSWORD) by spec.secretEnv or your shell"
            )
        return uri

    @model_validator(mode="after")
    def _keys_of_its_kind(self) -> Self:
        given = {name for name in type(self).model_fields if name != "sink" and getattr(self, name)}
        if strange := sorted(given - _KEYS[self.sink]):
            takes = ", ".join(sorted(_KEYS[self.sink])) or "no further keys"
            raise ValueError(f"the sink {self.sink} has no key {strange[0]}; it takes {takes}")
        wanted = {"mlflow": dict, "wandb": tuple}.get(self.sink)
        if wanted and self.tags and not isinstance(self.tags, wanted):
            form = "a mapping, such as {team: vision}" if wanted is dict else "a list, such as [baseline]"
            raise ValueError(f"the sink {self.sink} takes tags as {form}")
        return self
