"""What a Prometheus server reads: the state of the whole site from the database, and this process's own requests.

Every web process tells the same about the site, so ask one, or take the maximum. The processes of one
`config.serve` count together.
"""

import secrets
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import Count, F, Min, Sum
from django.http import Http404, HttpRequest, HttpResponse
from django.utils import timezone
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.process_collector import ProcessCollector

from accounts.addresses import client_address, is_within
from billing.models import Wallet
from generation import estimate, pace, queue, usage
from generation.models import LIVE, Attempt, Delivery, Generation, Host, Status
from generation.webhooks import sending

LATELY = timedelta(hours=1)

registry = CollectorRegistry()
requests_total = Counter("atelier_requests", "Requests answered.", ["method", "view", "status"], registry=registry)
request_seconds = Histogram(
    "atelier_request_seconds", "Time inside Django, without the wait for an image.", ["view"], registry=registry
)
ProcessCollector(registry=registry)


class Site:
    """Reads the site's state from database and Redis, at the moment of the question."""

    def collect(self) -> Iterator[Metric]:
        now = timezone.now()
        yield from generations(now - LATELY)
        yield from money()
        yield from webhooks(now - LATELY)
        yield from workers()


def generations(since: datetime) -> Iterator[Metric]:
    ever = usage.totals()
    ended = CounterMetricFamily("atelier_generations", "Generations that ended.", labels=["status"])
    for status, count in (
        (Status.SUCCESS, ever.succeeded),
        (Status.FAILED, ever.failed),
        (Status.CANCELED, ever.canceled),
    ):
        ended.add_metric([status], count)
    yield ended
    yield CounterMetricFamily("atelier_images", "Images that were delivered.", ever.images)
    yield CounterMetricFamily("atelier_charged_credits", "Credits that they cost.", ever.credits)
    live = Generation.objects.filter(status__in=LIVE)
    running = live.filter(status=Status.PROCESSING).count()
    yield gauge("atelier_generations_running", "Generations that workers are at.", running)
    oldest = live.filter(status=Status.QUEUED).aggregate(at=Min("created_at"))["at"]
    age_seconds = (timezone.now() - oldest).total_seconds() if oldest else 0.0
    yield gauge("atelier_queue_length", "Generations that wait.", live.filter(status=Status.QUEUED).count())
    yield gauge("atelier_queue_age_seconds", "How long the oldest of them has waited.", age_seconds)
    yield gauge(
        "atelier_queue_seconds", "How long all of them will take, as callers are told.", estimate.queue_seconds(live)
    )
    yield gauge(
        "atelier_seconds_per_credit", "Computing time, 90th percentile of the last 50.", pace.recent().computing_seconds
    )
    kept, promised = estimate.held(LATELY)
    yield gauge(
        "atelier_eta_kept_ratio", "Share of the last hour's estimates that held.", kept / promised if promised else 1
    )
    over = Generation.objects.filter(status=Status.SUCCESS, finished_at__gt=since)
    phases = GaugeMetricFamily("atelier_phase_seconds", "Mean of the last hour's successes.", labels=["phase"])
    times = over.aggregate(
        wait=Sum(F("started_at") - F("created_at")),
        compute=Sum(F("computed_at") - F("started_at")),
        store=Sum(F("finished_at") - F("computed_at")),
        count=Count("pk"),
    )
    for phase in ("wait", "compute", "store"):
        phases.add_metric([phase], times[phase].total_seconds() / times["count"] if times[phase] else 0.0)
    yield phases


def money() -> Iterator[Metric]:
    sums = Wallet.objects.aggregate(balance=Sum("balance", default=0), held=Sum("held", default=0))
    yield gauge("atelier_unspent_credits", "Credits in all wallets.", sums["balance"])
    yield gauge("atelier_held_credits", "Credits set aside for what is not over.", sums["held"])


def webhooks(since: datetime) -> Iterator[Metric]:
    now = timezone.now()
    pending, waiting = Delivery.objects.filter(state=Delivery.State.PENDING), sending.waiting_since(now)
    yield gauge("atelier_webhooks_pending", "Deliveries that are still to be made.", pending.count())
    yield gauge(
        "atelier_webhooks_late_seconds",
        "How long the oldest that may be attempted has waited.",
        (now - waiting).total_seconds() if waiting else 0.0,
    )
    yield gauge(
        "atelier_webhook_hosts_open", "Hosts that are left alone.", Host.objects.exclude(open_until=None).count()
    )
    attempts = GaugeMetricFamily("atelier_webhook_attempts", "Attempts of the last hour.", labels=["status"])
    lately = Attempt.objects.filter(began_at__gt=since).order_by()
    for status, count in lately.values_list("status").annotate(Count("pk")):
        attempts.add_metric([str(status or "none")], count)
    yield attempts


def workers() -> Iterator[Metric]:
    alive = queue.gpu_workers()
    yield gauge("atelier_gpu_workers", "Workers that have loaded the model.", len(alive))
    for name, words in (("rss_bytes", "Memory."), ("gpu_bytes", "Memory of the accelerator in use.")):
        family = GaugeMetricFamily(f"atelier_gpu_worker_{name}", words, labels=["worker"])
        for worker, facts in alive.items():
            if name in facts:
                family.add_metric([worker], facts[name])
        yield family
    steps = HistogramMetricFamily(
        "atelier_step_seconds", "Of each step that a worker made for all that it had at work.", labels=["worker"]
    )
    for worker, facts in alive.items():
        if "step_buckets" in facts:
            steps.add_metric([worker], facts["step_buckets"], facts["step_seconds"])
    yield steps


def gauge(name: str, words: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, words, value=value)


registry.register(Site())
every_process = CollectorRegistry()  # where there are several, for any of them may be asked
every_process.register(Site())
if settings.METRICS_FOLDER:
    MultiProcessCollector(every_process)


class Requests:
    """Middleware that counts and times requests, by the name of their view: addresses would be without number."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        begun = time.monotonic()
        response = self.get_response(request)
        match = request.resolver_match
        view = match.view_name or match._func_path if match else "none"
        method = request.method if request.method in {"GET", "POST", "HEAD", "OPTIONS"} else "other"
        requests_total.labels(method, view, str(response.status_code)).inc()
        request_seconds.labels(view).observe(time.monotonic() - begun)
        return response


def metrics(request: HttpRequest) -> HttpResponse:
    """Answer to those who may ask, by METRICS_TOKEN or from METRICS_ADDRESSES; to all others there is nothing here."""
    if not may_ask(request):
        raise Http404
    return HttpResponse(
        generate_latest(every_process if settings.METRICS_FOLDER else registry), content_type=CONTENT_TYPE_LATEST
    )


def may_ask(request: HttpRequest) -> bool:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    known = settings.METRICS_TOKEN.encode()
    if known and scheme.lower() == "bearer" and secrets.compare_digest(token.strip().encode(), known):
        return True
    address = client_address(request)
    return address is not None and is_within(address, settings.METRICS_ADDRESSES)
