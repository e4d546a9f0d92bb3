"""Memory of the device and of the process: how much is in use, and what to do when it runs out."""

import ctypes
from typing import Any

import torch

M_ARENA_MAX = -8  # of glibc's malloc.h
HEAPS = 2
SMALLEST_TILE = 256  # pixels; of smaller ones one would see too many seams


def is_out_of_memory(error: RuntimeError) -> bool:
    """Tell whether an error means that the device, or the machine, had no memory left."""
    # MPS and the CPU allocator raise a plain RuntimeError.
    return isinstance(error, torch.OutOfMemoryError) or "out of memory" in str(error) or "can't allocate" in str(error)


def release_cache(device: torch.device) -> None:
    """Give memory that torch holds but does not use back to the device."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()


def share_heaps() -> None:
    """Let all threads to come allocate from few heaps; glibc gives many threads one each, with holes of its own."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(M_ARENA_MAX, HEAPS)


def trim() -> None:
    """Give memory that was freed back to the system, most of which glibc would keep."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):
        libc.malloc_trim(0)


def synchronize(device: torch.device) -> None:
    """Wait until the device has done what it was given; a CPU has."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def used_bytes(device: torch.device) -> int | None:
    """Return how much of the device's own memory torch holds; None for a device that has none."""
    if device.type == "cuda":
        return torch.cuda.memory_reserved(device)
    if device.type == "mps":
        return torch.mps.driver_allocated_memory()
    return None


def tile(vae: Any) -> None:
    """Let a VAE code images in tiles from now on, if it can: slower, in a fraction of the memory."""
    if not hasattr(vae, "use_tiling"):
        return
    vae.enable_tiling()
    size = getattr(vae, "tile_sample_min_size", None)  # of the images that it was trained with, which would be one tile
    if isinstance(size, int) and size >= 2 * SMALLEST_TILE:
        vae.tile_sample_min_size //= 2
        vae.tile_latent_min_size //= 2
