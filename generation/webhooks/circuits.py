"""Keeps hosts apart: none takes more than its share of the senders, and one that fails is left alone for a while.

After some failures in a row the circuit of a host opens: nothing is sent to it until a time, and then a single probe,
whose outcome closes the circuit or opens it for longer. The only module that writes Host.
"""

import random
from collections.abc import Iterable
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from django.db.models import Exists, F, IntegerField, OuterRef, Q, QuerySet, Subquery
from django.db.models.aggregates import Count
from django.db.models.functions import Coalesce
from django.utils import timezone

from generation.webhooks.models import Delivery, Host

AT_ONCE = 4  # deliveries to one host
PATIENCE = 5  # failures in a row that open the circuit
OPEN_SECONDS = [30, 60, 120, 300, 600, 900]  # for the first failure that opens it, the second, …


def hosts_of(urls: Iterable[str]) -> dict[str, Host]:
    """Return the row of the host that each of the links leads to."""
    names = {url: name_of(url) for url in urls}
    hosts = {host.name: host for host in Host.objects.filter(name__in=names.values())}
    missing = sorted(set(names.values()) - hosts.keys())  # in one order, for others may be adding the same ones
    if missing:
        now = timezone.now()
        Host.objects.bulk_create([Host(name=name, served_at=now) for name in missing], ignore_conflicts=True)
        hosts |= {host.name: host for host in Host.objects.filter(name__in=missing)}
    return {url: hosts[name] for url, name in names.items()}


def name_of(url: str) -> str:
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return f"{parts.hostname}:{port}"[:300]


def ready(due: QuerySet[Delivery], now: datetime) -> QuerySet[Host]:
    """Return the hosts that have something due and room for it, the longest unserved first."""
    running = (
        Delivery.objects.filter(host=OuterRef("pk"), leased_until__gt=now)
        .order_by()
        .values("host")
        .annotate(count=Count("*"))
        .values("count")
    )
    hosts = Host.objects.annotate(running=Coalesce(Subquery(running, output_field=IntegerField()), 0))
    room = Q(open_until=None, running__lt=AT_ONCE) | Q(open_until__lte=now, running=0)
    return hosts.filter(room).filter(Exists(due.filter(host=OuterRef("pk")))).order_by("served_at", "pk")


def enter(pk: int, now: datetime) -> int:
    """Lock the host for the caller's transaction and return how many deliveries may begin now.

    Another sender that has it locked right now makes that none.
    """
    host = Host.objects.select_for_update(skip_locked=True, no_key=True).filter(pk=pk).first()
    if host is None or (host.open_until and host.open_until > now):
        return 0
    Host.objects.filter(pk=pk).update(served_at=now)
    running = Delivery.objects.filter(host=pk, leased_until__gt=now).count()
    return max(0, (1 if host.open_until else AT_ONCE) - running)


def note_success(host_pk: int) -> None:
    """Close the circuit: the host answered, whatever it said."""
    Host.objects.filter(pk=host_pk).exclude(failures=0, open_until=None).update(failures=0, open_until=None)


def note_failure(host_pk: int, now: datetime) -> None:
    """Count a failure; the circuit opens when they are too many in a row."""
    Host.objects.filter(pk=host_pk).update(failures=F("failures") + 1)
    failures = Host.objects.values_list("failures", flat=True).get(pk=host_pk)
    if failures >= PATIENCE:
        seconds = OPEN_SECONDS[min(failures - PATIENCE, len(OPEN_SECONDS) - 1)] * random.uniform(1, 1.2)
        Host.objects.filter(pk=host_pk).update(open_until=now + timedelta(seconds=seconds))
