"""The queue over HTTP: an API of its own, and the WebUI's API in front of the queue."""
