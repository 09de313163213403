"""Where samples come from: the user's own dataset by its import path, or files by the name of their format."""

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from ktrain.spec import forms
from ktrain.spec.base import Model, setting
from ktrain.spec.common import Args, Target

SourceName = Literal["jsonl", "json", "csv", "parquet", "imagefolder", "annotations", "text"]
Path = Annotated[str, StringConstraints(pattern=forms.SOME_NO_NUL.pattern, max_length=4000)]
Column = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Columns = Annotated[tuple[Column, ...], Field(min_length=1)]


class Dataset(Model):
    """A dataset: `use` names your own, `source` and `path` name files."""

    use: Target | None = setting(None, resume="refuse", doc="package.module:attribute of your own dataset; or source")
    source: SourceName | None = setting(None, resume="refuse", doc="format of the files in path; or use")
    path: Path | tuple[Path, ...] = setting(
        (), resume="refuse", doc="files or folders, with * and **; in sorted order; relative to the code"
    )
    columns: dict[Column, Column | Columns] = setting(
        {}, resume="refuse", doc="name in the sample → column, or several that make a vector; input and target: a pair"
    )
    classes: int | tuple[str, ...] | None = setting(
        None, resume="refuse", doc="names of the target's classes in order, or how many; labels are checked against it"
    )
    stream: bool = setting(
        False,
        resume="refuse",
        doc="read jsonl files from front to back, without an index, also s3://bucket/prefix/*.jsonl",
    )
    args: Args = setting({}, resume="refuse", doc="keyword arguments of the dataset, or of the source")

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if (self.use is None) == (self.source is None):
            given = "both use and source" if self.use else "neither use nor source"
            raise ValueError(f"has {given}; give use: module:attribute, or source: with path:")
        if self.source and not self.path:
            raise ValueError(
                f"source is {self.source}, but there is no path; add path: with the file, folder or pattern"
            )
        if self.stream and self.source != "jsonl":
            raise ValueError(
                f"stream is true, but source is {self.source or 'your own'}; only jsonl files are streamed, and what has __iter__ and no __len__ is a stream by itself"
            )
        if self.use and (self.path or self.columns or self.classes):
            raise ValueError("path, columns and classes belong to source; give your own dataset its arguments by args")
        return self

    @model_validator(mode="after")
    def _some_classes(self) -> Self:
        many = self.classes if isinstance(self.classes, int) else len(set(self.classes or ()))
        if self.classes is not None and many < 1:
            raise ValueError("classes is empty; name them in order, or say how many there are")
        if isinstance(self.classes, tuple) and many < len(self.classes):
            raise ValueError("classes names one class twice; each name has one number")
        return self
