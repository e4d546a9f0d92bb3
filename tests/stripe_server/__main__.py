"""Runs the pretend Stripe beside a development site: `STRIPE=fake make run` starts it."""

import argparse
from pathlib import Path

from django.conf import settings

from tests.stripe_server.server import PretendStripe


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.stripe_server", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--webhook-url", required=True, help="where the shop takes events")
    parser.add_argument("--keep", type=Path, help="a file in which everything outlives the process")
    options = parser.parse_args()
    with PretendStripe(
        options.port,
        webhook_url=options.webhook_url,
        webhook_secrets=settings.STRIPE_WEBHOOK_SECRETS,
        secret_key=settings.STRIPE_SECRET_KEY,
        keep=options.keep,
    ) as server:
        server.webhooks.start()
        server.serve_forever()


if __name__ == "__main__":
    main()
