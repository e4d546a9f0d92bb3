"""What the workers are asked to do: each job carries one id, and doing it twice does no harm."""

import logging

from django.conf import settings

from generation import fetch, images, services, storage
from generation.models import Generation, Status
from generation.sweep import sweep as sweep  # called by the clock

logger = logging.getLogger(__name__)


def generate(pk: int) -> None:
    """Make the images of a generation (gpu worker)."""
    from generation import worker  # torch: only ever imported in the gpu worker

    worker.make(pk)


def fetch_inputs(pk: int) -> None:
    """Fetch the start image and the mask of a generation (fetch worker: the network never holds the accelerator)."""
    generation = Generation.objects.filter(pk=pk, status=Status.QUEUED, inputs_ready=False).first()
    if generation is None:
        return
    try:
        init_image_name = generation.init_image_name or store_image(generation.init_image_url)
        mask_image_name = generation.mask_image_name or store_image(generation.mask_image_url)
    except (fetch.FetchRefused, images.UnusableImage) as refusal:
        services.refuse_inputs(pk, str(refusal))
    except Exception:  # the edge of the job: the credits go back, the details go to the log
        logger.exception("Fetching the inputs of %s failed.", generation)
        services.refuse_inputs(pk, services.TRY_AGAIN)
    else:
        services.inputs_fetched(pk, init_image_name, mask_image_name)


def store_image(url: str) -> str:
    """Fetch an image, make sure that it is one, and keep it; return its name, or nothing for no link.

    Raises:
        FetchRefused, UnusableImage: nothing was kept.
    """
    if not url:
        return ""
    data = fetch.fetch(url, allowed_hosts=settings.FETCH_ALLOWED_HOSTS)
    images.read_header(data)
    return storage.save_input(data)
