"""From a job to exactly the objects that submit sends; pure, and no text template anywhere."""

from ktrain.render.job import Object, Rendered, render, spec_hash

__all__ = ["Object", "Rendered", "render", "spec_hash"]
