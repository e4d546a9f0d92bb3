"""One of each thing that an account can own; tests walk every page with them, and knock at them as somebody else."""

from dataclasses import dataclass
from datetime import timedelta
from io import BytesIO
from pathlib import Path

from django.utils import timezone
from PIL import Image

from accounts import exports
from accounts.models import Export, Plan
from billing import ledger
from billing.models import Offer, Pack, Purchase, Subscription
from generation import images, services, storage
from generation.models import Generation
from generation.params import Inputs, Params
from generation.webhooks import listening
from generation.webhooks.models import Delivery, Endpoint, SilencedUrl
from tests.conftest import Person

SAMPLES = Path(__file__).parents[1] / "static" / "samples"


@dataclass(frozen=True)
class Belongings:
    """What one person owns."""

    person: Person
    generation: Generation  # a success, with a start image
    failed: Generation
    queued: Generation
    endpoint: Endpoint
    delivery: Delivery  # to the endpoint
    silenced: SilencedUrl
    purchase: Purchase  # a pack, paid
    subscription: Subscription
    export: Export  # ready


def furnish(person: Person) -> Belongings:
    """Give a person that has credits one of each."""
    endpoint = Endpoint(account=person.user, url="https://example.org/events")
    listening.add(endpoint)
    start = storage.save_input(picture("cat.jpg"))
    params = Params("img2img", "a cat sitting on a bench", seed=7, strength=0.6, samples=2)
    generation = submit(person, params, Inputs(init_image_name=start))
    claimed = services.claim(generation.pk)
    assert claimed
    for k, name in enumerate(("cat.jpg", "flower.jpg")):
        png = picture(name)
        storage.save_image(claimed, k, png, as_base64=False)
        storage.save_thumbnail(claimed, k, images.encode_thumbnail(images.decode(png)))
    services.succeed(claimed, [False, False], 2.4, 2.4, "starter", "1", "starter")
    failed = services.claim(submit(person, Params("text2img", "a red rocket", seed=8)).pk)
    assert failed
    services.fail(failed)
    return Belongings(
        person=person,
        generation=Generation.objects.get(pk=generation.pk),
        failed=Generation.objects.get(pk=failed.pk),
        queued=submit(person, Params("text2img", "a house in the snow", seed=9)),
        endpoint=endpoint,
        delivery=Delivery.objects.get(generation=generation, endpoint=endpoint),
        silenced=SilencedUrl.objects.create(api_key=person.api_key, url="https://example.org/gone"),
        purchase=buy(person),
        subscription=subscribe(person),
        export=packed(person),
    )


def submit(person: Person, params: Params, inputs: Inputs | None = None) -> Generation:
    return services.submit(
        person.user, params, inputs or Inputs(), "order-7", "https://example.org/hook", person.api_key
    )


def buy(person: Person) -> Purchase:
    """Return a pack that was paid; Stripe knows nothing of it."""
    pack = Pack.objects.create(name="Large", credits=1000, price_cents=900, currency="usd")
    purchase = Purchase.objects.create(
        user=person.user,
        kind=Purchase.Kind.CHECKOUT,
        status=Purchase.Status.PAID,
        pack=pack,
        credits=1000,
        price_cents=900,
        paid_cents=900,
        currency="usd",
        paid_at=timezone.now(),
    )
    ledger.grant(person.user.pk, purchase.credits, purchase.cause, "Pack")
    return purchase


def subscribe(person: Person) -> Subscription:
    """Return a subscription that runs; Stripe knows nothing of it."""
    plan = Plan.objects.create(name="Studio", images_per_month=500, requests_per_minute=60)
    offer = Offer.objects.create(plan=plan, monthly_credits=400, price_cents=1000, currency="usd")
    return Subscription.objects.create(
        user=person.user,
        offer=offer,
        status=Subscription.Status.ACTIVE,
        stripe_id="sub_pretend",
        current_period_end=timezone.now() + timedelta(days=20),
    )


def packed(person: Person) -> Export:
    """Return an export that is ready."""
    export = exports.request(person.user)
    exports.run(export.pk)
    export.refresh_from_db()
    return export


def picture(name: str) -> bytes:
    """Return one of the sample pictures as a PNG."""
    file = BytesIO()
    Image.open(SAMPLES / name).convert("RGB").resize((256, 256)).save(file, "PNG")
    return file.getvalue()
