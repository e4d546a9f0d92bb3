"""Very many generations of one account, with their entries in the ledger, written by the database itself."""

from datetime import timedelta

from django.db import connection
from django.utils import timezone

from accounts.models import ApiKey, User
from billing import ledger

DAYS = 365  # over which they are spread
VOCABULARY = 5000  # words; the k-th is about as common as 1/k
MODELS = ["sdxl-base", "sdxl-base", "sdxl-base", "dreamshaper", "dreamshaper", "sd-turbo"]

FILL = """
INSERT INTO generation_generation (
    account_id, api_key_id, status, params, file_prefix, init_image_url, mask_image_url, init_image_name,
    mask_image_name, inputs_ready, webhook_url, held_credits, charged_credits, attempt, step, model, model_revision,
    vae, nsfw, blanked_images, compute_seconds, accelerator_seconds, message, created_at, nudged_at,
    started_at, computed_at, finished_at
)
SELECT
    %(account)s,
    (%(keys)s::bigint[])[1 + (random() * 2.999)::int %% 3],
    outcome.status,
    jsonb_build_object(
        'mode', (ARRAY['img2img','img2img','img2img','text2img','text2img','inpaint'])[1 + floor(random() * 6)::int],
        'prompt', words.prompt, 'seed', floor(random() * 4294967295)::bigint, 'negative_prompt', '',
        'width', 512, 'height', 512, 'samples', 1, 'num_inference_steps', 31, 'guidance_scale', 7.5, 'strength', 0.7,
        'safety_checker', true, 'enhance_prompt', true, 'base64', false),
    gen_random_uuid(), '', '', 'input', '', true, '', 1, (outcome.status = 'success' AND NOT outcome.blanked)::int,
    1, 21,
    CASE outcome.status WHEN 'success' THEN (%(models)s::text[])[1 + floor(random() * %(model_count)s)::int]
        ELSE '' END,
    '', '', CASE WHEN outcome.blanked THEN '[true]'::jsonb ELSE '[false]'::jsonb END, outcome.blanked::int, 2, 2, '',
    submitted.at, submitted.at, submitted.at + interval '1 second', submitted.at + interval '3 seconds',
    submitted.at + interval '4 seconds' * (0.5 + random())
FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS g
CROSS JOIN LATERAL (SELECT %(start)s::timestamptz + g * %(step)s::interval AS at) AS submitted
CROSS JOIN LATERAL (
    SELECT string_agg('word' || floor(%(vocabulary)s ^ (random() + 0 * w))::int, ' ') AS prompt
    FROM generate_series((1 + 0 * g)::int, 12) AS w
) AS words
CROSS JOIN LATERAL (SELECT random() + 0 * g AS r, random() + 0 * g < 0.005 AS hit) AS dice
CROSS JOIN LATERAL (
    SELECT CASE WHEN dice.r < 0.02 THEN 'failed' WHEN dice.r < 0.03 THEN 'canceled' ELSE 'success' END AS status,
           dice.r >= 0.03 AND dice.hit AS blanked
) AS outcome
"""

# What ledger.hold and ledger.settle write, in the order of time.
ENTER = """
INSERT INTO billing_entry (wallet_id, kind, credits, held_credits, owed_credits, cause, note, created_at)
SELECT account_id, moved.kind, moved.credits, moved.held_credits, 0, 'generation:' || id, '', moved.at
FROM generation_generation
CROSS JOIN LATERAL (VALUES
    ('hold', -held_credits, held_credits, created_at),
    ('capture', 0, -charged_credits, finished_at),
    ('release', held_credits - charged_credits, charged_credits - held_credits, finished_at)
) AS moved (kind, credits, held_credits, at)
WHERE account_id = %(account)s AND id > %(after)s AND moved.held_credits <> 0
ORDER BY moved.at, id
"""


def empty() -> None:
    """Forget all generations and entries, quickly."""
    with connection.cursor() as cursor:
        cursor.execute(
            "TRUNCATE generation_generation, generation_usageday, generation_siteday, generation_summedday, "
            "billing_entry CASCADE"
        )
        cursor.execute("UPDATE billing_wallet SET balance = 0, held = 0, owed = 0, monthly = 0")


def fill(rows: int, batch: int = 100_000) -> tuple[User, str]:
    """Write the generations and return their account and the secret of one of its keys.

    Every word `word1` … `word4999` occurs, the first in most prompts and the last in few; `ancient` only in the oldest
    tenth, in every second prompt.
    """
    user = User.objects.create_user(f"rows-{rows}@example.org")
    ledger.grant(user.pk, rows + 1000, f"benchmark:{rows}")
    made = [ApiKey.create(user, name) for name in ("website", "app", "batch")]
    facts = {
        "account": user.pk,
        "keys": [key.pk for key, _ in made],
        "models": MODELS,
        "model_count": len(MODELS),
        "vocabulary": VOCABULARY,
        "start": timezone.now() - timedelta(days=DAYS),
        "step": timedelta(days=DAYS) / rows,
    }
    with connection.cursor() as cursor:
        cursor.execute("UPDATE billing_entry SET created_at = %(start)s WHERE wallet_id = %(account)s", facts)
        for first in range(1, rows + 1, batch):
            [[after]] = cursor.execute("SELECT coalesce(max(id), 0) FROM generation_generation").fetchall()
            cursor.execute(FILL, facts | {"first": first, "last": min(rows, first + batch - 1)})
            cursor.execute(ENTER, {"account": user.pk, "after": after})
        cursor.execute(
            "UPDATE generation_generation SET params = jsonb_set(params, '{prompt}', to_jsonb('ancient ' || "
            "(params->>'prompt'))) WHERE account_id = %s AND id %% 2 = 0 AND created_at < %s",
            [user.pk, facts["start"] + timedelta(days=DAYS / 10)],
        )
        cursor.execute(
            "UPDATE billing_wallet SET balance = (SELECT sum(credits) FROM billing_entry WHERE wallet_id = user_id) "
            "WHERE user_id = %(account)s",
            facts,
        )
        cursor.execute("VACUUM ANALYZE generation_generation, billing_entry")
    return user, made[0][1]
