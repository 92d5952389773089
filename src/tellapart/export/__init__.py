"""A bundle in the formats of other runtimes, each checked in its own runtime before it is written."""
