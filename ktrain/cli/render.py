"""`ktrain render`."""

import typer
import yaml

from ktrain.cli.common import Format, JobFile, Output, Plain, Sets, show
from ktrain.load import load_job
from ktrain.render import render


def command(job: JobFile, sets: Sets = None, output: Output = Format.yaml) -> None:
    """Print exactly the objects that submit would send."""
    objects = list(render(load_job(job, sets or ()).job))
    if output is Format.json:
        show(objects, output)
    else:
        typer.echo(yaml.dump_all(objects, sort_keys=False, allow_unicode=True, Dumper=Plain), nl=False)
