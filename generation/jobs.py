"""What the workers are asked to do: to take what comes next. One job too many does no harm."""

import logging

from django.conf import settings
from django.utils import timezone

from generation import erasure, fetch, images, retention, services, storage, usage
from generation.retention import expire as expire  # called by the clock, as is
from generation.sweep import sweep as sweep

logger = logging.getLogger(__name__)


def generate() -> None:
    """Make the images of the generation whose turn it is (gpu worker)."""
    from generation import worker  # torch: only ever imported in the gpu worker

    worker.make_next()


def fetch_inputs() -> None:
    """Fetch the images whose turn it is (fetch worker: the network never holds the accelerator).

    Where the storage fails they are fetched again when the claim has lapsed, for as long as MAX_ATTEMPTS claims last.
    """
    generation = services.claim_next_fetch()
    if generation is None:
        return
    pk = generation.pk
    try:
        init_image_name = generation.init_image_name or store_image(generation.init_image_url)
        mask_image_name = generation.mask_image_name or store_image(generation.mask_image_url)
    except (fetch.FetchRefused, images.UnusableImage) as refusal:
        services.refuse_inputs(pk, str(refusal))
    except storage.Failed:
        logger.exception("The storage failed %s.", generation)
        if timezone.now() - generation.created_at > settings.MAX_ATTEMPTS * services.FETCH_LEASE:
            services.refuse_inputs(pk, services.TRY_AGAIN)
    except Exception:  # the edge of the job: the credits go back, the details go to the log
        logger.exception("Fetching the inputs of %s failed.", generation)
        services.refuse_inputs(pk, services.TRY_AGAIN)
    else:
        services.inputs_fetched(pk, init_image_name, mask_image_name)


def store_image(url: str) -> str:
    """Fetch an image, make sure that it is one, and keep it; return its name, or nothing for no link.

    Raises:
        FetchRefused, UnusableImage, storage.Failed: nothing was kept.
    """
    if not url:
        return ""
    data = fetch.fetch(url, allowed_hosts=settings.FETCH_ALLOWED_HOSTS)
    images.read_header(data)
    with storage.faults():
        return storage.save_input(data)


def remove_files(pk: int) -> None:
    """Remove the files of a deleted generation (io worker)."""
    erasure.remove_files(pk)


def remove_unused_uploads() -> None:
    """Remove start images and masks that belong to no generation (io worker, called by the clock every night)."""
    retention.remove_unused_uploads(timezone.now())


def sum_up_usage() -> None:
    """Sum up what was used on the days that are over (io worker)."""
    usage.sum_up()
