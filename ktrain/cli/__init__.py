"""The command line: one file a command; what they do exists without them."""
