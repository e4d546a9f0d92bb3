from django.db import migrations

# The words of the prompts, each behind its account and day, for the history's search: generation.history.WORDS.
SIGNS = "!\"#$%&''()*+,-./:;<=>?@[\\]^_`{|}~"  # as SQL spells it: one quote, twice
# Without a list of what is not sorted in yet, which would be read once for each day that is searched.
CREATE = f"""
CREATE INDEX CONCURRENTLY history_words_of_a_day ON generation_generation
USING gin (to_tsvector('simple'::regconfig, replace(
    ' ' || strip(to_tsvector('simple'::regconfig, translate(params ->> 'prompt', '{SIGNS}', repeat(' ', 32))))::text,
    ' ''',
    ' a' || account_id::text || 'd' || ((created_at AT TIME ZONE 'UTC')::date - DATE '1970-01-01')::text || 'w')))
WITH (fastupdate = off)
WHERE deleted_at IS NULL
"""
# As in 0013_words_between_signs.
CREATE_WORDS = f"""
CREATE INDEX CONCURRENTLY history_words ON generation_generation
USING gin (to_tsvector('simple'::regconfig, translate(
    'account' || account_id::text || ' ' || (params ->> 'prompt'), '{SIGNS.replace("_", "")}', repeat(' ', 31))))
WHERE deleted_at IS NULL
"""


def replace(name, *, by, of_name):
    def run(apps, schema_editor):
        if schema_editor.connection.vendor == "postgresql":
            # A run that was cut off leaves an index of this name that nothing reads.
            schema_editor.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {of_name}")
            schema_editor.execute(by, params=None)
            schema_editor.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")

    return run


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("generation", "0016_sums_of_the_site")]

    operations = [
        migrations.RunPython(
            replace("history_words", by=CREATE, of_name="history_words_of_a_day"),
            replace("history_words_of_a_day", by=CREATE_WORDS, of_name="history_words"),
        ),
    ]
