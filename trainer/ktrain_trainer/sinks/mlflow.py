"""A run of an MLflow server: parameters, metrics, status; a restart goes on with the same run.

MLflow has no rewind. Steps after the checkpoint that a restart went on from are there twice: each restart is a tag with that
step, and each point has the gang's epoch beside it as the metric ktrain/epoch.
"""

import logging
import os
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, Final

from ktrain.errors import SpecError
from ktrain.spec.track import Track
from ktrain_trainer.sinks.base import Record, scalars
from ktrain_trainer.sinks.behind import RefusedError
from ktrain_trainer.sinks.facts import Facts, Kept

MAX_METRICS: Final = 1000  # of one request, as the server has it
MAX_PARAMS: Final = 100
MAX_TEXT: Final = 500  # of a parameter; servers before 2.8 take no more
# Its client tries again for minutes by itself, writes on stdout and reports its use; our thread does the first, nobody wants the rest.
_SETTINGS: Final = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
_STATUS: Final = {"end": "FINISHED", "stop": "KILLED"}
_GONE: Final = "RESOURCE_DOES_NOT_EXIST"
_REFUSALS: Final = frozenset({"INVALID_PARAMETER_VALUE", "BAD_REQUEST"})


class MlflowRun:
    """Talks to the server; called by one thread."""

    name = "mlflow"

    def __init__(self, track: Track, kept: Kept, facts: Facts) -> None:
        """Imports the client, which takes seconds: better before the first step than beside it. SpecError without a uri."""
        for name, value in _SETTINGS.items():
            os.environ.setdefault(name, value)
        self._uri = track.uri or os.environ.get("MLFLOW_TRACKING_URI", "")
        if not self._uri:
            raise SpecError(
                "mlflow has no uri; set uri, or MLFLOW_TRACKING_URI in the environment", "spec.trainer.track"
            )
        logging.getLogger("urllib3.connectionpool").setLevel(
            logging.ERROR
        )  # each try of ours would be a line of its own
        import mlflow.entities
        from mlflow.tracking import MlflowClient

        self._entities = mlflow.entities
        self._client = MlflowClient(self._uri)
        self._track, self._kept, self._facts = track, kept, facts
        self._run_id = ""
        self._status = "FAILED"  # unless the records say how it ended

    def send(self, records: Sequence[Record]) -> None:
        """All metrics of these records, and what a start or an end changes."""
        from mlflow.exceptions import MlflowException

        try:
            for record in records:
                if record["kind"] == "start":
                    self._begin(record)
                self._status = _STATUS.get(record["kind"], self._status)
            metrics = iter([point for record in records for point in self._points(record)])
            while some := list(islice(metrics, MAX_METRICS)):
                self._client.log_batch(self._run_id, metrics=some)
        except MlflowException as error:
            if error.error_code in _REFUSALS:
                raise RefusedError(error.message) from error
            raise

    def close(self) -> None:
        """FINISHED, KILLED when it was told to go, else FAILED; a restart makes it RUNNING again."""
        if self._run_id:
            self._client.set_terminated(self._run_id, self._status)

    def _begin(self, record: Record) -> None:
        run = self._find() or self._create()
        self._run_id, self._status = run.info.run_id, "FAILED"
        self._kept.write({"run_id": self._run_id, **self._place})
        if run.info.status != "RUNNING":
            self._client.update_run(self._run_id, status="RUNNING")
        tags = self._tags(record)
        before = run.data.params
        for name, value in self._facts.params.items():
            if before.get(name, value[:MAX_TEXT]) != value[:MAX_TEXT]:  # a parameter is written once and never again
                tags[f"ktrain.changed.{name}"] = value[:MAX_TEXT]
        fresh = iter([(name, value) for name, value in self._facts.params.items() if name not in before])
        while some := list(islice(fresh, MAX_PARAMS)):
            params = [self._entities.Param(name, value[:MAX_TEXT]) for name, value in some]
            self._client.log_batch(self._run_id, params=params)
        self._client.log_batch(self._run_id, tags=[self._entities.RunTag(*it) for it in tags.items()])

    def _find(self) -> Any:
        """The run that this one went on from; None when there is none, or it is of another place, or was deleted there."""
        from mlflow.exceptions import MlflowException

        kept = self._kept.read()
        if self._run_id or {name: kept.get(name) for name in self._place} != self._place:
            return self._client.get_run(self._run_id) if self._run_id else None
        try:
            run = self._client.get_run(kept["run_id"])
        except MlflowException as error:
            if error.error_code != _GONE:
                raise
            return None
        return run if run.info.lifecycle_stage == "active" else None

    def _create(self) -> Any:
        name = self._track.experiment or "Default"
        found = self._client.get_experiment_by_name(name)
        experiment = found.experiment_id if found else self._client.create_experiment(name)
        run = self._client.create_run(experiment, run_name=self._track.name or self._facts.job or None)
        self._run_id = run.info.run_id  # before it is kept: whoever tries again makes no second one
        return run

    @property
    def _place(self) -> dict[str, Any]:
        return {"uri": self._uri, "experiment": self._track.experiment}

    def _tags(self, record: Record) -> dict[str, str]:
        tags = {"ktrain.run": self._facts.run, "ktrain.job": self._facts.job}
        if isinstance(self._track.tags, dict):  # a mapping for this sink: the spec has seen to it
            tags |= self._track.tags
        tags |= {f"ktrain.version.{name}": str(value) for name, value in record.get("versions", {}).items()}
        if record.get("restored_step"):
            tags[f"ktrain.restart.a{record['attempt']}-e{record['epoch']}"] = f"step {record['restored_step']}"
        return tags

    def _points(self, record: Record) -> Iterator[Any]:
        values = scalars(record)
        at = int(record["time"] * 1000)
        for name, value in {**values, "ktrain/epoch": record.get("epoch", 0)}.items() if values else ():
            yield self._entities.Metric(_allowed(name), float(value), at, record["step"])


def _allowed(name: str) -> str:
    """Other characters the server refuses."""
    return "".join(char if char.isalnum() or char in "_-. /" else "_" for char in name)[:250]
