"""A bundle behind HTTP: the service and its page."""
