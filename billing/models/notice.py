"""E-mails to customers about their money. Written only by billing/notices.py."""

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone


class Notice(models.Model):
    """One e-mail, recorded in the transaction that it tells of and sent afterwards."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    subject = models.CharField(max_length=200)
    body = models.TextField()
    created_at = models.DateTimeField(default=timezone.now)
    sent_at = models.DateTimeField(null=True, blank=True)
    attempts = models.PositiveSmallIntegerField(default=0)
    next_attempt_at = models.DateTimeField(null=True, blank=True)  # none: sent, or given up

    class Meta:
        indexes = [
            models.Index(fields=["next_attempt_at"], name="notices_due", condition=Q(next_attempt_at__isnull=False))
        ]

    def __str__(self) -> str:
        return self.subject
