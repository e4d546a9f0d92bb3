"""Makes the images of one claimed generation: open the start image, compute, store, publish.

Runs in a thread of the gpu worker. Only the computing needs the accelerator; opening comes before it and storing after
it, while others compute.
"""

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait

from django.db import DatabaseError, InterfaceError, connections
from django.utils import timezone
from PIL import Image

from config import logs
from generation import images, services, storage
from generation.engine import BatchingEngine, ImageRequest, ImageResult, LoadedModel, UnsupportedRequest
from generation.leases import Hearts, Lease, LeaseLost, Stopping
from generation.models import Generation, Status

logger = logging.getLogger(__name__)

# All hands together open one image at a time: while it is opened, a file of a few kB may take 0.8 GiB. Always in one
# thread, for malloc keeps what was freed for a while, and would do so in every heap that the hands have.
opening = ThreadPoolExecutor(1, thread_name_prefix="opening")
# What a generation stores goes out at once. These threads stay, for each has a connection of its own to a bucket.
storing = ThreadPoolExecutor(8, thread_name_prefix="storing")


def make(
    generation: Generation,
    engine: LoadedModel | BatchingEngine,
    stopping: threading.Event,
    hearts: Hearts,
    on_broken: Callable[[], object] = lambda: None,
) -> None:
    """Make a generation that was just claimed, and end it: success, failed, or back in the queue.

    `on_broken` is called when this process can use the device no more, before the generation is queued again: it must
    not come back to this process.
    """
    with logs.about(generation=generation.pk):
        work_on(generation, engine, stopping, hearts, on_broken)


def work_on(
    generation: Generation,
    engine: LoadedModel | BatchingEngine,
    stopping: threading.Event,
    hearts: Hearts,
    on_broken: Callable[[], object],
) -> None:
    started = time.monotonic()
    lease = Lease(generation, stopping)
    try:
        with lease.kept(hearts):
            result = engine.generate(read_request(generation), on_step=lease.on_step, on_draft=lease.show.on_draft)
            computed_at = timezone.now()
            lease.confirm()  # nothing is published under a claim that was lost meanwhile
            store(generation, result, engine)
            largest_difference = difference(generation, result)
        generation.step = lease.step
        if not services.succeed(
            generation,
            result.nsfw,
            time.monotonic() - started,
            result.accelerator_seconds,
            engine.model_name,
            engine.revision or "",
            engine.vae_name,
            computed_at,
            largest_difference,
        ):
            remove_canceled(generation)
    except LeaseLost:
        logger.info("%s was canceled or taken back; its work is dropped.", generation)
    except Stopping:
        services.hand_back(generation)
    except (images.UnusableImage, UnsupportedRequest) as refusal:
        services.fail(generation, str(refusal), engine.model_name)
    except storage.Failed:
        logger.exception("The storage failed %s.", generation)
        services.retry(generation)
    except (DatabaseError, InterfaceError):
        logger.exception("The database failed %s.", generation)
        connections.close_all()  # this thread's own
        # Where its end was written after all this changes nothing; where the database is still away the lease lapses.
        services.retry(generation)
    except Exception:  # the edge of the job: the credits go back, the details go to the log
        logger.exception("%s failed.", generation)
        if is_usable(engine):
            services.fail(generation, model=engine.model_name)
        else:  # it may be another's fault, and in another process there is none
            on_broken()
            services.retry(generation)


def is_usable(engine: LoadedModel | BatchingEngine) -> bool:
    """Tell whether the device still takes work; CUDA takes none from a process after an illegal access to memory."""
    try:
        engine.synchronize()
    except RuntimeError:
        logger.exception("The device takes no more work from this process.")
        return False
    return True


def read_request(generation: Generation) -> ImageRequest:
    """Return the engine's request, with the start image and the mask opened and cut to size.

    Raises:
        UnusableImage: what is stored is no image.
        storage.Failed
    """
    params = generation.parameters
    size = (params.width, params.height)
    with storage.faults():
        init_data, mask_data = (
            storage.read_input(name) if name else None
            for name in (generation.init_image_name, generation.mask_image_name)
        )
    init_image = opened(images.decode, init_data, size) if init_data is not None else None
    mask_image = opened(images.decode_mask, mask_data, size) if mask_data is not None else None
    return ImageRequest(
        mode=params.mode,
        prompt=params.full_prompt,
        negative_prompt=params.full_negative_prompt,
        width=params.width,
        height=params.height,
        num_inference_steps=params.num_inference_steps,
        guidance_scale=params.guidance_scale,
        strength=params.strength,
        seed=params.seed,
        samples=params.samples,
        init_image=init_image,
        mask_image=mask_image,
        safety_checker=params.safety_checker,
    )


def opened(decode: Callable[[bytes], Image.Image], data: bytes, size: tuple[int, int]) -> Image.Image:
    """Return an image cut to size; it is opened when no other is.

    Raises:
        UnusableImage
    """
    return opening.submit(lambda: images.cover(decode(data), *size)).result()


def store(generation: Generation, result: ImageResult, engine: LoadedModel | BatchingEngine) -> None:
    """Encode and keep the images, each with the parameters that make it again.

    Raises:
        storage.Failed: some images may be there, some not; storing them again replaces them.
    """
    stored: list[Future[None]] = []
    for k, image in enumerate(result.images):
        stored.append(storing.submit(store_image, generation, k, image, result.seeds[k], engine))
        stored.append(storing.submit(store_thumbnail, generation, k, image))
    wait(stored)  # for all: none is stored after a failure was noted
    for each in stored:
        each.result()


def store_image(
    generation: Generation, k: int, image: Image.Image, seed: int, engine: LoadedModel | BatchingEngine
) -> None:
    params = generation.parameters
    text = images.parameters_text(params, seed=seed, sampler=engine.scheduler_name, model=engine.model_name)
    recipe = params.as_json() | {"seed": seed, "samples": 1, "model": engine.model_name}
    png = images.encode_png(image, text, recipe)
    with storage.faults():
        storage.save_image(generation, k, png, as_base64=params.base64)


def store_thumbnail(generation: Generation, k: int, image: Image.Image) -> None:
    thumbnail = images.encode_thumbnail(image)
    with storage.faults():
        storage.save_thumbnail(generation, k, thumbnail)


def difference(generation: Generation, result: ImageResult) -> int | None:
    """Return how far the images came out from those that they reproduce; None where there are none, or not any more.

    Raises:
        storage.Failed
    """
    original = generation.reproduces
    if original is None:
        return None
    try:
        with storage.faults():
            stored = [storage.read_image(original, k) for k in range(len(result.images))]
    except storage.Failed as failure:
        if isinstance(failure.__cause__, storage.FileLost):
            return None
        raise
    pairs = zip(stored, result.images, strict=True)
    return max(images.largest_difference(images.decode(png), image) for png, image in pairs)


def remove_canceled(generation: Generation) -> None:
    """Remove the images of a generation that was canceled while they were stored.

    Only then: the names of one that was taken back are in use by the next attempt.
    """
    if Generation.objects.filter(pk=generation.pk, status=Status.CANCELED).exists():
        storage.delete_images(generation)
