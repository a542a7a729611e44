"""How large a job may be, and the error of one that is too large."""

from __future__ import annotations

LATENT_SCALE = 8  # pixels to a cell of the latent picture, each way
# A real WebUI has no bound and runs out of memory; this one fails as a real one does whose memory is capped.
MOST_PIXELS = 4 * 1024 * 1024
MOST_PICTURES = 1_000
MOST_STEPS = 10_000


def whole_cells(pixels: int) -> int:
    """Pixels of a whole number of latent cells."""
    return pixels // LATENT_SCALE * LATENT_SCALE


def no_memory(size: int) -> RuntimeError:
    return RuntimeError(
        "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried "
        f"to allocate {size} bytes. Error code 12 (Cannot allocate memory)"
    )
