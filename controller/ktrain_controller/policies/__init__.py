"""One policy a file: each takes an observation and says what it wants, or nothing."""
