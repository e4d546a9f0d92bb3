"""Shows a running site at work: an account, one image made over HTTP, and how to make the next one."""

import base64
import json
import shlex
import socket
import time
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import ProxyHandler, Request, build_opener

from django.conf import settings
from django.contrib.auth.hashers import make_password
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction
from django.utils.crypto import get_random_string

from accounts.authentication import InvalidKey, authenticate
from accounts.models import ApiKey, User, trust_address
from billing import ledger
from config.files import shown, write_private
from generation import queue

EMAIL = "demo@example.com"
CREDITS = 1000
SAMPLE = settings.BASE_DIR / "static" / "samples" / "cat.jpg"
PARAMETERS = {  # as the original's documentation writes them: numbers as text among numbers, nulls
    "prompt": "a cat sitting on a bench",
    "negative_prompt": None,
    "width": "512",
    "height": "512",
    "samples": "1",
    "num_inference_steps": "30",
    "safety_checker": "no",
    "enhance_prompt": "yes",
    "guidance_scale": 7.5,
    "strength": 0.7,
    "seed": None,
    "webhook": None,
    "track_id": None,
}
opener = build_opener(ProxyHandler({}))  # the site is on this machine


class Command(BaseCommand):
    help = "Wait for the site on this machine, make one image with it, and print how."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("base_url", help="the site's address, without a slash at its end")

    def handle(self, *args: Any, **options: Any) -> None:
        base_url, log_dir = options["base_url"], settings.VAR_DIR / "log"
        if not urlsplit(base_url).hostname:
            raise CommandError(f"A site's address looks like http://127.0.0.1:8000, not {base_url}.")
        wait_until_serving(base_url)
        self.stdout.write(f"Serving on {base_url}. The model is loading ({shown(log_dir / 'gpu.log')}).")
        while not queue.gpu_workers_alive():
            time.sleep(0.2)
        if not settings.PRODUCTION:
            self.show_image(base_url, self.account(base_url))
        addresses = f"Site {base_url}   API {base_url}/api/docs   Admin {base_url}/admin/   Logs {shown(log_dir)}/"
        if settings.STRIPE == "fake":
            call_command("starter_catalog", stdout=self.stdout)
            addresses += f"\nCards are taken by a pretend Stripe, and no money moves: {settings.STRIPE_API_BASE}/"
        self.stdout.write(f"\n{addresses}\nCtrl-C stops everything.")

    def account(self, base_url: str) -> dict[str, str]:
        """Return the demo account of var/demo.json, made and shown now unless it still works."""
        note = settings.VAR_DIR / "demo.json"
        demo: dict[str, str] = json.loads(note.read_text()) if note.exists() else {}
        try:
            authenticate(demo.get("api_key"))
            self.stdout.write(f"\nThe demo account {demo['email']} and its key are in {shown(note)}.")
        except InvalidKey:
            demo = create_account()
            self.stdout.write(f"\nThe demo account, shown only now (kept in {shown(note)}):")
            self.stdout.write(f"  e-mail    {demo['email']}\n  password  {demo['password']}")
            self.stdout.write(f"  API key   {demo['api_key']}   {CREDITS:,} credits")
        demo |= {"base_url": base_url, "sample_path": str(SAMPLE)}
        write_private(note, json.dumps(demo, indent=2))
        return demo

    def show_image(self, base_url: str, demo: dict[str, str]) -> None:
        body = {"key": demo["api_key"], "init_image": base64.b64encode(SAMPLE.read_bytes()).decode()} | PARAMETERS
        request = settings.VAR_DIR / "demo-request.json"
        write_private(request, json.dumps(body))
        reply = post(f"{base_url}/api/v3/img2img", body)
        while reply["status"] == "processing":
            reply = post(f"{base_url}/api/v3/fetch/{reply['id']}", {"key": demo["api_key"]})
        self.stdout.write(f"\n{body['prompt']}, from {shown(SAMPLE)}:\n{json.dumps(reply, indent=2)}")
        if reply["status"] != "success":
            raise CommandError("The first image could not be made; the site goes on.")
        data = shlex.quote(f"@{shown(request)}")
        curl = f"curl -H 'Content-Type: application/json' -d {data} {base_url}/api/v3/img2img"
        self.stdout.write(f"\nThe same once more:\n  {curl}")
        link = reply["output"][0]
        file = settings.VAR_DIR / urlsplit(link).path.lstrip("/")
        self.stdout.write(f"\nThe picture:\n  {link}" + (f"\n  {shown(file)}" if file.exists() else ""))


@transaction.atomic
def create_account() -> dict[str, str]:
    """Give the demo account, made if need be, a new password and a new key, and its credits once."""
    password = get_random_string(20)
    rights = {"password": make_password(password), "is_staff": True, "is_superuser": True}
    user, created = User.objects.update_or_create(email=EMAIL, defaults=rights)
    trust_address(user)  # nobody reads its mail
    missing_credits = CREDITS - ledger.balance(user.pk)
    if created and missing_credits > 0:
        ledger.grant(user.pk, missing_credits, f"demo:{user.pk}", "Demo account")
    _, secret = ApiKey.create(user, "demo")
    return {"api_key": secret, "email": user.email, "password": password}


def wait_until_serving(base_url: str) -> None:
    url = urlsplit(base_url)
    while True:
        try:
            socket.create_connection((url.hostname, url.port), timeout=5).close()
            return
        except OSError:
            time.sleep(0.1)


def post(url: str, body: dict[str, Any]) -> dict[str, Any]:
    """Return the site's JSON answer."""
    request = Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})  # noqa: S310  (our own site)
    try:
        try:
            answer = opener.open(request).read()
        except HTTPError as error:
            answer = error.read()
        reply: dict[str, Any] = json.loads(answer)
    except (OSError, HTTPException, ValueError) as error:
        raise CommandError(f"The site did not answer the demo's request: {error}") from error
    return reply
