from django.db import migrations, models
from django.db.models import Q

from config.indexes import AddIndexBesideWrites


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("generation", "0013_words_between_signs")]

    operations = [
        AddIndexBesideWrites(
            "generation",
            models.Index(
                fields=["fetch_lease_until"],
                name="links_fetched_lately",
                condition=Q(fetch_lease_until__isnull=False),
            ),
        ),
        AddIndexBesideWrites(
            "delivery",
            models.Index(fields=["account", "state", "-id"], name="deliveries_by_state"),
        ),
    ]
