"""The credit ledger: the only module that writes Wallet and Entry.

Every movement is one conditional UPDATE of the wallet and one entry with a unique cause, in one transaction: two
requests can't spend the same credit, and repeating a movement does nothing. Work is paid in two steps: `hold` sets the
price aside, `settle` captures what was delivered and releases the rest. A cause is plain text ("generation:5120041"),
so the ledger knows nothing of what is bought.
"""

from collections.abc import Iterator

from django.db import transaction
from django.db.models import F, Sum
from django.db.models.functions import Coalesce

from billing.models import Entry, Wallet


class InsufficientCredits(Exception):
    """The wallet holds less than the work costs."""

    def __init__(self, needed: int, available: int) -> None:
        super().__init__(f"{needed} credits are needed and {available} are available.")
        self.needed, self.available = needed, available


def open_wallet(user_id: int, welcome_credits: int) -> None:
    """Open the account's wallet with a present; repeating it does nothing."""
    Wallet.objects.get_or_create(user_id=user_id)
    if welcome_credits:
        grant(user_id, welcome_credits, f"welcome:{user_id}", "Welcome")


def balance(user_id: int) -> int:
    """Return the credits that can be spent now."""
    return Wallet.objects.values_list("balance", flat=True).get(user_id=user_id)


@transaction.atomic
def grant(user_id: int, credits: int, cause: str, note: str = "") -> bool:
    """Add credits once for `cause`; tell whether this call was the one.

    Raises:
        ValueError: `credits` is not positive; nothing was written.
    """
    if credits <= 0:
        raise ValueError("A grant must be at least one credit.")
    # The wallet row is locked first, so that a second grant for the same cause waits here and then sees the first.
    Wallet.objects.select_for_update(no_key=True).get(user_id=user_id)
    if Entry.objects.filter(cause=cause, kind=Entry.Kind.GRANT).exists():
        return False
    Wallet.objects.filter(user_id=user_id).update(balance=F("balance") + credits)
    Entry.objects.create(wallet_id=user_id, kind=Entry.Kind.GRANT, credits=credits, cause=cause, note=note)
    return True


@transaction.atomic
def hold(user_id: int, credits: int, cause: str) -> None:
    """Set credits aside for work that begins; joins the caller's transaction.

    Raises:
        InsufficientCredits: nothing was written.
    """
    # The guard and the debit are one statement, so two requests can't spend the same credit.
    affordable = Wallet.objects.filter(user_id=user_id, balance__gte=credits)
    if not affordable.update(balance=F("balance") - credits, held=F("held") + credits):
        raise InsufficientCredits(needed=credits, available=balance(user_id))
    Entry.objects.create(wallet_id=user_id, kind=Entry.Kind.HOLD, credits=-credits, held_credits=credits, cause=cause)


@transaction.atomic
def settle(cause: str, captured_credits: int) -> None:
    """End a hold: keep `captured_credits` of it and give the rest back; joins the caller's transaction.

    Raises:
        ValueError: it was settled before, or more would be captured than was held; nothing was written.
    """
    held = Entry.objects.get(cause=cause, kind=Entry.Kind.HOLD)
    # The wallet row is locked first, so that a second settlement waits here and then sees the first.
    Wallet.objects.select_for_update(no_key=True).get(pk=held.wallet_id)
    if Entry.objects.filter(cause=cause, kind__in=[Entry.Kind.CAPTURE, Entry.Kind.RELEASE]).exists():
        raise ValueError(f"{cause} was settled before.")
    released_credits = held.held_credits - captured_credits
    if captured_credits < 0 or released_credits < 0:
        raise ValueError(f"{captured_credits} of {held.held_credits} held credits can't be captured.")
    Wallet.objects.filter(user_id=held.wallet_id).update(
        balance=F("balance") + released_credits, held=F("held") - held.held_credits
    )
    if captured_credits:
        Entry.objects.create(
            wallet_id=held.wallet_id,
            kind=Entry.Kind.CAPTURE,
            credits=0,
            held_credits=-captured_credits,
            cause=cause,
        )
    if released_credits:
        Entry.objects.create(
            wallet_id=held.wallet_id,
            kind=Entry.Kind.RELEASE,
            credits=released_credits,
            held_credits=-released_credits,
            cause=cause,
        )


def differences() -> Iterator[str]:
    """Yield a sentence for every wallet that its entries don't explain, and every hold that was settled wrongly."""
    wallets = Wallet.objects.annotate(
        explained_balance=Coalesce(Sum("entries__credits"), 0), explained_held=Coalesce(Sum("entries__held_credits"), 0)
    )
    for wallet in wallets.exclude(balance=F("explained_balance"), held=F("explained_held")).iterator():
        yield (
            f"Wallet {wallet.pk}: balance {wallet.balance} and held {wallet.held}, "
            f"but its entries say {wallet.explained_balance} and {wallet.explained_held}."
        )
    # A settled hold leaves exactly nothing held: what was set aside was captured or released, to the last credit.
    causes = Entry.objects.exclude(kind=Entry.Kind.GRANT).values("cause").annotate(still_held=Sum("held_credits"))
    settled = Entry.objects.filter(kind__in=[Entry.Kind.CAPTURE, Entry.Kind.RELEASE]).values("cause")
    for row in causes.filter(cause__in=settled).exclude(still_held=0).iterator():
        yield f"Cause {row['cause']}: {row['still_held']} credits are still held though it was settled."
