"""One of each thing that an account can own; tests walk every page with them, and knock at them as somebody else."""

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from PIL import Image

from generation import services, storage
from generation.models import Delivery, Generation
from generation.params import Inputs, Params
from tests.conftest import Person

SAMPLES = Path(__file__).parents[1] / "static" / "samples"


@dataclass(frozen=True)
class Belongings:
    """What one person owns."""

    person: Person
    generation: Generation  # a success, with a start image
    failed: Generation
    queued: Generation
    delivery: Delivery


def furnish(person: Person) -> Belongings:
    """Give a person that has credits one of each."""
    start = storage.save_input(picture("cat.jpg"))
    params = Params("img2img", "a cat sitting on a bench", seed=7, strength=0.6, samples=2)
    generation = submit(person, params, Inputs(init_image_name=start))
    claimed = services.claim(generation.pk)
    assert claimed
    for k, name in enumerate(("cat.jpg", "flower.jpg")):
        storage.save_image(claimed, k, picture(name), as_base64=False)
    services.succeed(claimed, [False, False], 2.4, "starter", "1", "starter")
    failed = services.claim(submit(person, Params("text2img", "a red rocket", seed=8)).pk)
    assert failed
    services.fail(failed)
    return Belongings(
        person=person,
        generation=Generation.objects.get(pk=generation.pk),
        failed=Generation.objects.get(pk=failed.pk),
        queued=submit(person, Params("text2img", "a house in the snow", seed=9)),
        delivery=Delivery.objects.get(generation=generation),
    )


def submit(person: Person, params: Params, inputs: Inputs | None = None) -> Generation:
    return services.submit(
        person.user, params, inputs or Inputs(), "order-7", "https://example.org/hook", person.api_key
    )


def picture(name: str) -> bytes:
    """Return one of the sample pictures as a PNG."""
    file = BytesIO()
    Image.open(SAMPLES / name).convert("RGB").resize((256, 256)).save(file, "PNG")
    return file.getvalue()
