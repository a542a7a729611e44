"""The path under which Prefect's stored results name the class of a picture.

A run that failed before the class moved to ``gpu.request`` is retried with these results; without this name Prefect
could not read them, and what was painted would be lost.
"""

from gpu.request import Picture

__all__ = ["Picture"]
