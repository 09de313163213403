"""What `ktrain init` writes: small jobs that train in seconds on a laptop."""

from dataclasses import dataclass
from importlib.resources import files
from typing import Final

from ktrain.schema_url import URL


@dataclass(frozen=True, slots=True)
class Template:
    """A folder of files; `says` is its line in the help."""

    name: str
    says: str
    files: tuple[str, ...]

    def read(self, file: str, *, job: str) -> str:
        """The text of one of its files, for a job of this name."""
        text = (files(__name__) / self.name / file).read_text(encoding="utf-8")
        return text.replace("@SCHEMA@", URL).replace("@NAME@", job)


TEMPLATES: Final = {
    it.name: it
    for it in (
        Template("minimal", "the declarative trainer with a model and a dataset of your own", ("job.yaml", "train.py")),
        Template("script", "your own training loop, with ten lines of ktrain in it", ("job.yaml", "train.py")),
    )
}
