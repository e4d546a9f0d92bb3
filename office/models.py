"""What staff tell everybody."""

from django.db import models
from django.db.models import F, Q
from django.utils import timezone


class Announcement(models.Model):
    """One line above every page, for a time."""

    class Tone(models.TextChoices):
        NEWS = "news"
        WARNING = "warning"

    text = models.CharField(max_length=300)
    link_url = models.URLField("link", blank=True)
    tone = models.CharField(max_length=10, choices=Tone, default=Tone.NEWS)
    begins_at = models.DateTimeField(default=timezone.now)
    ends_at = models.DateTimeField(null=True, blank=True, help_text="Empty: until you set one.")

    class Meta:
        ordering = ["-begins_at"]
        constraints = [
            models.CheckConstraint(
                condition=Q(ends_at=None) | Q(ends_at__gt=F("begins_at")), name="announcement_ends_after_it_begins"
            )
        ]

    def __str__(self) -> str:
        return self.text
