"""A job file, read and checked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ktrain.errors import NotFound, SpecError
from ktrain.load import override
from ktrain.load.compose import MAX_BYTES, Document, Location, compose
from ktrain.load.explain import Where, explain, places
from ktrain.load.problem import Problem, SpecErrors
from ktrain.load.space import check_space
from ktrain.spec import TrainingJob


@dataclass(frozen=True)
class Loaded:
    """The job, and where it was read from: paths in it are relative to that folder."""

    job: TrainingJob
    document: Any
    path: Path
    where: Where

    def problem(self, code: str, message: str, where: str) -> Problem:
        """One that was found later, at a dotted path of the file."""
        return Problem(code, message, path=where, **self.where(tuple(where.split(".")), False))

    @property
    def folder(self) -> Path:
        """The job file's folder."""
        return self.path.resolve().parent

    @property
    def code_dir(self) -> Path:
        """The folder that the user's code is imported from."""
        return self.folder / (self.job.spec.code.dir if self.job.spec.code else ".")

    @property
    def storage_url(self) -> str:
        """spec.storage.url, made absolute."""
        return storage_url(self.job.spec.storage.url, self.folder)


def load_job(path: Path, overrides: Sequence[str] = ()) -> Loaded:
    """Reads, applies `--set`s and validates; SpecErrors tell all mistakes at once."""
    job, where = _parse(_read(path), str(path), overrides)
    return Loaded(job, where.document.value, path, where)


def parse_job(text: str, name: str, overrides: Sequence[str] = ()) -> tuple[TrainingJob, Any]:
    """The job of a text and its plain document; `name` stands for the file in errors."""
    job, where = _parse(text, name, overrides)
    return job, where.document.value


def _parse(text: str, name: str, overrides: Sequence[str]) -> tuple[TrainingJob, "_Where"]:
    document = compose(text, name)
    if not isinstance(document.value, dict):
        raise SpecErrors([Problem("type", "a job file is a mapping with apiVersion, kind, metadata and spec", name, 1, 1,
                                  source_line=document.lines[0] if document.lines else "")])  # fmt: skip
    changes = [override.parse(it) for it in overrides]
    whole = replace(document, value=override.apply(document.value, changes))
    try:
        job, where = _validated(whole), _Where(name, whole, changes)
    except ValidationError as error:
        where = _Where(name, whole, changes, _wrong_alone(document))
        raise SpecErrors(explain(error.errors(include_url=False), whole, where)) from None
    if job.spec.tune and (problems := check_space(job.spec.tune, whole, where)):
        raise SpecErrors(problems)
    return job, where


def _validated(document: Document) -> TrainingJob:
    return TrainingJob.model_validate(document.value, by_alias=True, by_name=False)


def _wrong_alone(document: Document) -> frozenset[Location]:
    """What is wrong in the file without any --set."""
    try:
        _validated(document)
    except ValidationError as error:
        return places(error.errors(include_url=False), document)
    return frozenset()


def storage_url(url: str, folder: Path) -> str:
    """A relative folder is relative to the job file; URLs stay as they are."""
    return url if "://" in url else str((folder / Path(url).expanduser()).resolve())


@dataclass(frozen=True)
class _Where:
    """Where a location stands: in the file, or in the --set that put it there."""

    name: str
    document: Document
    overrides: Sequence[override.Override]
    wrong_alone: frozenset[Location] = frozenset()

    def __call__(self, location: Location, of_key: bool) -> Mapping[str, Any]:
        if settings := self._settings(location):
            return {"file": " ".join(f"--set {it.text}" for it in settings)}
        place = self.document.place(location, of_key=of_key)
        source = self.document.lines[place.line - 1] if place.line <= len(self.document.lines) else ""
        return {
            "file": self.name,
            "line": place.line,
            "column": place.column,
            "length": place.length,
            "source_line": source,
        }

    def _settings(self, location: Location) -> list[override.Override]:
        """The --set that gave this value, or those that changed something in it that was right before."""
        above = [it for it in self.overrides if it.path == location[: len(it.path)]]
        if above or location in self.wrong_alone:
            return above[-1:]
        return [it for it in self.overrides if it.path[: len(location)] == location]


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise _MissingError(f"there is no file {path}; `ktrain init` writes one that works") from None
    except IsADirectoryError:
        raise SpecError(f"{path} is a folder; name the job file in it, for example {path / 'job.yaml'}") from None
    except OSError as error:
        raise SpecError(f"{path} cannot be read: {error.strerror}") from error
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise SpecErrors(
            [Problem("encoding", f"byte {error.start} is no UTF-8; save the file as UTF-8", str(path), line, 1)]
        ) from None


class _MissingError(SpecError):
    cli_exit = NotFound.cli_exit
