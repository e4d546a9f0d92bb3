"""The V3 endpoints. They are synchronous and short; what takes time is waited for in generation/waiting.py."""

import logging
from dataclasses import asdict
from typing import Any, ClassVar

from django.conf import settings
from django.db import DatabaseError, InterfaceError
from django.http import Http404, HttpRequest
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.exceptions import MethodNotAllowed
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts import quotas
from accounts.addresses import client_address
from accounts.authentication import authenticate
from accounts.models import ApiKey, Scope
from billing import ledger
from config import sql
from config.sites import base_url
from generation import estimate, idempotency, pricing, services, storage, waiting
from generation.idempotency import AlreadySubmitted, Repeatable
from generation.models import LIVE, Generation, Status
from generation.v3 import errors, replies, schema
from generation.v3.requests import (
    EventPage,
    Events,
    ImageToImage,
    Inpaint,
    Keyed,
    Price,
    TextToImage,
    find_key,
    read_parameters,
)
from generation.waiting import Wait
from generation.webhooks import listening

logger = logging.getLogger(__name__)

ONE = "SELECT * FROM generation_generation WHERE account_id = %s AND id = %s"

Call = TextToImage | ImageToImage | Inpaint


class OneRenderer(BaseContentNegotiation):
    """Answers JSON whatever the Accept header says, as the original did."""

    def select_renderer(self, request: Request, renderers: Any, format_suffix: str | None = None) -> tuple[Any, str]:
        return renderers[0], renderers[0].media_type


class V3View(APIView):
    """Reads the parameters, finds the account, and answers every error in the dialect."""

    content_negotiation_class = OneRenderer
    metadata_class = None  # OPTIONS is no POST either
    authentication_classes = ()
    permission_classes = ()
    needs = Scope.READ  # what the key must be good for
    api_key: ApiKey | None = None  # the caller's, once it was read
    limits: quotas.Limits  # the caller's

    def handle_exception(self, exc: Exception) -> Response:
        return errors.respond(exc, base_url(self.request._request))

    def finalize_response(self, request: Request, response: Response, *args: Any, **kwargs: Any) -> Response:
        response = super().finalize_response(request, response, *args, **kwargs)
        for name, value in self.rate_headers().items():
            response[name] = value
        return response

    def rate_headers(self) -> dict[str, str]:
        """Return the headers of whose key is known; none while the database fails: no answer may be lost to them."""
        try:
            return replies.rate_headers(quotas.rate(self.api_key.user, self.limits)) if self.api_key else {}
        except (DatabaseError, InterfaceError):
            logger.exception("The requests of this minute could not be counted.")
            return {}

    def read(self) -> tuple[dict[str, Any], ApiKey]:
        """Return the parameters and the caller's key.

        Raises:
            Unreadable, InvalidKey, KeyNotAllowed
        """
        http_request: HttpRequest = self.request._request
        parameters = read_parameters(http_request)
        secret = find_key(http_request, parameters)
        key = authenticate(secret, self.needs, client_address(http_request))
        self.api_key, self.limits = key, quotas.limits(key.user, key.is_overridden)
        return parameters, key

    def answer(self, generation: Generation, wait_seconds: float, note: str, is_new: bool = False) -> Response:
        """Return the present state; while it is not final, the server waits and then answers the state reached.

        Where nobody waits, a new generation is answered with what was just estimated for it.
        """
        base = base_url(self.request._request)
        if not generation.is_final:
            wait = Wait(
                generation.pk,
                wait_seconds,
                reply=lambda: reply(read(generation.account_id, generation.pk), base, note),
                unread_reply=lambda: (200, replies.promise(generation, base, note, timezone.now())),
            )
            if waiting.request_wait(self.request._request, wait):
                return Response({})
            if is_new:
                return Response(replies.promise(generation, base, note, generation.created_at))
        status, body = reply(generation, base, note)
        return Response(body, status=status)

    def answer_again(self, earlier: Generation) -> Response:
        response = self.answer(earlier, settings.SYNC_WAIT_SECONDS, replies.JUST_QUEUED)
        response["Idempotent-Replayed"] = "true"
        return response


class Generate(V3View):
    """Submits a generation."""

    needs = Scope.GENERATE
    serializer_class: ClassVar[type[Call]]

    def post(self, request: Request) -> Response:
        parameters, key = self.read()
        fields = self.serializer_class(data=parameters, context=asdict(self.limits))
        repeatable = fields.repeatable()
        # Before anything is judged: what was accepted once is answered again, though it would be refused by now.
        if repeatable and (earlier := idempotency.find(key.user, repeatable)):
            return self.answer_again(earlier)
        fields.is_valid(raise_exception=True)
        try:
            generation = self.submit(fields, key, repeatable)
        except AlreadySubmitted as repeated:
            return self.answer_again(repeated.generation)
        return self.answer(generation, settings.SYNC_WAIT_SECONDS, replies.JUST_QUEUED, is_new=True)

    def submit(self, fields: Call, key: ApiKey, repeatable: Repeatable | None) -> Generation:
        values = fields.validated_data
        with storage.kept_inputs(values.get("init_image"), values.get("mask_image")) as inputs:
            return services.submit(
                key.user,
                fields.params(),
                inputs,
                values["track_id"],
                values["webhook"] or "",
                key,
                repeatable,
                limits=self.limits,
            )


@extend_schema(request=TextToImage, responses=schema.GENERATED, summary="New image from a prompt")
class Text2ImgView(Generate):
    """Makes images from a prompt."""

    serializer_class = TextToImage


@extend_schema(request=ImageToImage, responses=schema.GENERATED, summary="New image from an image and a prompt")
class Img2ImgView(Generate):
    """Makes images from an image and a prompt."""

    serializer_class = ImageToImage


@extend_schema(request=Inpaint, responses=schema.GENERATED, summary="Repaint the white part of a mask")
class InpaintView(Generate):
    """Repaints what is white in the mask and keeps the rest."""

    serializer_class = Inpaint


class Fetch(V3View):
    """Finds a queued or finished generation."""

    def fetch(self, key: ApiKey, wanted: Any) -> Response:
        return self.answer(find(key, wanted), settings.FETCH_WAIT_SECONDS, replies.STILL_RUNNING)


class FetchByPathView(Fetch):
    """Answers the state of a generation; waits a little for one that still runs."""

    @extend_schema(
        operation_id="v3_fetch_by_path",
        parameters=[OpenApiParameter("id", int, OpenApiParameter.PATH)],
        request=schema.KEY,
        responses=schema.GENERATED,
        summary="A queued or finished generation",
    )
    def post(self, request: Request, pk: str) -> Response:
        _, key = self.read()
        return self.fetch(key, pk)


class FetchByBodyView(Fetch):
    """Answers the state of the generation whose id is `request_id`; waits a little for one that still runs."""

    @extend_schema(
        operation_id="v3_fetch_by_body",
        request=schema.FETCH,
        responses=schema.GENERATED,
        summary="A queued or finished generation, by `request_id`",
    )
    def post(self, request: Request) -> Response:
        parameters, key = self.read()
        return self.fetch(key, parameters.get("request_id"))


class Cancel(V3View):
    """Ends a generation that is not over yet."""

    needs = Scope.GENERATE

    def cancel(self, key: ApiKey, wanted: Any) -> Response:
        generation = find(key, wanted)
        services.cancel(generation.pk)
        generation.refresh_from_db()
        if generation.status != Status.CANCELED:
            raise errors.NotCancelable(generation.status)
        return Response(replies.canceled(generation))


class CancelByPathView(Cancel):
    """Ends a generation that is not over yet; nothing is charged. Repeating it answers the same."""

    @extend_schema(
        operation_id="v3_cancel_by_path",
        parameters=[OpenApiParameter("id", int, OpenApiParameter.PATH)],
        request=schema.KEY,
        responses=schema.CANCELED,
        summary="Cancel a queued or running generation",
    )
    def post(self, request: Request, pk: str) -> Response:
        _, key = self.read()
        return self.cancel(key, pk)


class CancelByBodyView(Cancel):
    """Ends the generation whose id is `request_id`; nothing is charged. Repeating it answers the same."""

    @extend_schema(
        operation_id="v3_cancel_by_body",
        request=schema.FETCH,
        responses=schema.CANCELED,
        summary="Cancel a queued or running generation, by `request_id`",
    )
    def post(self, request: Request) -> Response:
        parameters, key = self.read()
        return self.cancel(key, parameters.get("request_id"))


class ReproduceView(V3View):
    """Makes a generation again, and answers the largest difference between both in `reproduction`, of 255."""

    needs = Scope.GENERATE

    @extend_schema(
        operation_id="v3_reproduce",
        parameters=[OpenApiParameter("id", int, OpenApiParameter.PATH)],
        request=Keyed,
        responses=schema.GENERATED,
        summary="Make a generation again and compare",
    )
    def post(self, request: Request, pk: str) -> Response:
        parameters, key = self.read()
        fields = Keyed(data=parameters)
        fields.is_valid(raise_exception=True)
        name = fields.validated_data["idempotency_key"]
        repeatable = Repeatable.of(name, {"reproduces": number(pk)}) if name else None
        if repeatable and (earlier := idempotency.find(key.user, repeatable)):
            return self.answer_again(earlier)
        try:
            generation = services.reproduce(find(key, pk), key, repeatable)
        except AlreadySubmitted as repeated:
            return self.answer_again(repeated.generation)
        return self.answer(generation, settings.SYNC_WAIT_SECONDS, replies.JUST_QUEUED, is_new=True)


@extend_schema(request=Price, responses=schema.PRICE, summary="What a request would cost")
class PriceView(V3View):
    """Answers the price of a request without running it."""

    def post(self, request: Request) -> Response:
        parameters, key = self.read()
        fields = Price(data=parameters, context=asdict(self.limits))
        fields.is_valid(raise_exception=True)
        params = fields.params()
        return Response(
            {
                "status": "success",
                "mode": params.mode,
                "samples": params.samples,
                "credits": pricing.credits(params),
                "credits_per_image": pricing.image_credits(params),
                "balance": ledger.balance(key.user.pk),
            }
        )


@extend_schema(request=schema.KEY, responses=schema.LOAD, summary="How long the queue is")
class SystemLoadView(V3View):
    """Answers how many generations wait or run, of all accounts, and for how many seconds."""

    def post(self, request: Request) -> Response:
        self.read()
        live = Generation.objects.filter(status__in=LIVE)
        return Response({"queue_num": live.count(), "queue_time": round(estimate.queue_seconds(live)), "status": "ok"})


@extend_schema(request=schema.KEY, responses=schema.ACCOUNT, summary="What your account may do, and has used")
class AccountView(V3View):
    """Answers the balance, the limits, how much of them is used, and when the counters begin again."""

    def post(self, request: Request) -> Response:
        _, key = self.read()
        return Response(replies.account(key, self.limits))


@extend_schema(request=Events, responses=schema.EVENT_LIST, summary="What happened after a cursor")
class EventsView(V3View):
    """Answers the events that webhooks tell, oldest first, so that a caller can catch up after an outage."""

    def post(self, request: Request) -> Response:
        parameters, key = self.read()
        page = EventPage(data=parameters)
        page.is_valid(raise_exception=True)
        cursor, most = page.validated_data["cursor"], page.validated_data["limit"]
        events = listening.events_after(key.user, cursor, most + 1)
        return Response(replies.event_list(events[:most], cursor, has_more=len(events) > most))


@extend_schema(exclude=True)
class UnknownView(V3View):
    """Answers every other address in the dialect."""

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        raise MethodNotAllowed(request.method or "") if request.method != "POST" else Http404


def find(key: ApiKey, wanted: Any) -> Generation:
    """Return the account's own generation.

    Raises:
        NotFound
    """
    generation = read(key.user.pk, number(wanted))
    if generation.deleted_at:
        raise errors.NotFound
    generation.account = key.user  # which is known, with its plan
    return generation


def read(account_id: int, pk: int) -> Generation:
    """Return a generation of the account as it is now.

    Raises:
        NotFound
    """
    generation = sql.row(Generation, ONE, account_id, pk)
    if generation is None:
        raise errors.NotFound
    return generation


def number(wanted: Any) -> int:
    """Return the id that the caller means, or 0, which no generation has."""
    text = str(wanted).strip()
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 18 else 0


def reply(generation: Generation, base: str, note: str) -> tuple[int, dict[str, Any]]:
    """Return the HTTP status and the body for the generation's state."""
    failed = generation.status in (Status.FAILED, Status.CANCELED)
    return (400 if failed and settings.V3_REAL_STATUS_CODES else 200), replies.answer(generation, base, note)
