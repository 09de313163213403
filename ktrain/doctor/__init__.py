"""Everything that a job needs, checked one thing at a time: what is so, and what to do where it is not."""
