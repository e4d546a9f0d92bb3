"""The credit ledger: the only module that writes Wallet and Entry.

Every movement is one conditional UPDATE of the wallet and one entry with a unique cause, in one transaction: two
requests can't spend the same credit, and repeating a movement does nothing. Work is paid in two steps: `hold` sets the
price aside, `settle` captures what was delivered and releases the rest. A cause is plain text ("generation:5120041"),
so the ledger knows nothing of what is bought.

A balance never falls below zero. When a payment is taken back after its credits were spent, the rest is owed, and
whatever comes in next pays that first: a wallet has a balance or owes, never both. So the order in which payments and
refunds become known does not change where a wallet ends.
"""

from collections.abc import Iterator

from django.db import transaction
from django.db.models import F, Q, Sum
from django.db.models.functions import Coalesce
from django.dispatch import Signal
from django.utils import timezone

from billing.models import Entry, Wallet
from config import sql

PURCHASE = "purchase:"  # begins the causes of what was paid for; "purchase:ID/3" is what a later change moved

BALANCE = "SELECT balance FROM billing_wallet WHERE user_id = %s"
DEBIT = """
    UPDATE billing_wallet SET balance = balance - %s, held = held + %s WHERE user_id = %s AND balance >= %s
"""
HOLDER = """
    SELECT w.* FROM billing_wallet w JOIN billing_entry e ON e.wallet_id = w.user_id
    WHERE e.cause = %s AND e.kind = 'hold'
"""
SETTLEMENT = """
    SELECT kind, held_credits FROM billing_entry WHERE cause = %s AND kind IN ('hold', 'capture', 'release')
"""
ENTER = """
    INSERT INTO billing_entry (wallet_id, kind, credits, held_credits, owed_credits, cause, note, created_at)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
"""
COME_IN = """
    UPDATE billing_wallet SET balance = balance + %s, owed = owed - %s, held = held - %s WHERE user_id = %s
"""

lowered = Signal()  # credits were set aside; sent with user_id, in the transaction


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
    [(credits,)] = sql.rows(BALANCE, user_id)
    return int(credits)


@transaction.atomic
def grant(user_id: int, credits: int, cause: str, note: str = "") -> bool:
    """Add credits once for `cause`; tell whether this call was the one. What is owed is paid from them first.

    Raises:
        ValueError: `credits` is not positive; nothing was written.
    """
    if credits <= 0:
        raise ValueError("A grant must be at least one credit.")
    wallet = locked(user_id)
    if known(cause, Entry.Kind.GRANT):
        return False
    enter(wallet.pk, Entry.Kind.GRANT, cause, credits=credits, note=note)
    come_in(wallet, credits, cause)
    return True


@transaction.atomic
def grant_month(user_id: int, credits: int, cause: str, note: str = "", *, most_monthly_credits: int) -> bool:
    """Add a plan's credits once for `cause`; of all unspent plan credits, what is above the most allowed expires.

    Plan credits count as spent before any others, so credits that were bought or given never expire. Tells whether
    this call was the one.

    Raises:
        ValueError: `credits` is not positive; nothing was written.
    """
    if credits <= 0:
        raise ValueError("A grant must be at least one credit.")
    wallet = locked(user_id)
    if known(cause, Entry.Kind.MONTH):
        return False
    monthly = unspent_monthly_credits(wallet)
    enter(wallet.pk, Entry.Kind.MONTH, cause, credits=credits, note=note)
    repaid = come_in(wallet, credits, cause)
    monthly += credits - repaid
    expired = min(max(0, monthly - most_monthly_credits), balance(user_id))
    if expired:
        enter(wallet.pk, Entry.Kind.EXPIRE, cause, credits=-expired, note="Plan credits that don't roll over")
    Wallet.objects.filter(pk=wallet.pk).update(balance=F("balance") - expired, monthly=monthly - expired)
    return True


@transaction.atomic
def take_back(user_id: int, credits: int, cause: str, note: str = "", *, monthly: bool = False) -> bool:
    """Take credits back once for `cause`: from the balance as far as it goes; the rest is owed.

    `monthly` says that they were a plan's. Tells whether this call was the one.

    Raises:
        ValueError: `credits` is not positive; nothing was written.
    """
    if credits <= 0:
        raise ValueError("At least one credit must be taken back.")
    wallet = locked(user_id)
    if known(cause, Entry.Kind.TAKE_BACK):
        return False
    taken = min(wallet.balance, credits)
    enter(wallet.pk, Entry.Kind.TAKE_BACK, cause, credits=-taken, owed_credits=credits - taken, note=note)
    Wallet.objects.filter(pk=wallet.pk).update(
        balance=F("balance") - taken,
        owed=F("owed") + credits - taken,
        monthly=max(0, wallet.monthly - credits) if monthly else wallet.monthly,
    )
    return True


@transaction.atomic(savepoint=False)
def hold(user_id: int, credits: int, cause: str) -> None:
    """Set credits aside for work that begins; joins the caller's transaction.

    Raises:
        InsufficientCredits: nothing was written; the caller's transaction must be rolled back.
    """
    # The guard and the debit are one statement, so two requests can't spend the same credit.
    if not sql.write(DEBIT, credits, credits, user_id, credits):
        raise InsufficientCredits(needed=credits, available=balance(user_id))
    enter(user_id, Entry.Kind.HOLD, cause, credits=-credits, held_credits=credits)
    lowered.send(sender=Wallet, user_id=user_id)


@transaction.atomic(savepoint=False)
def settle(cause: str, captured_credits: int) -> None:
    """End a hold: keep `captured_credits` of it and give the rest back; joins the caller's transaction.

    Raises:
        ValueError: nothing was held, it was settled before, or more would be captured than was held; nothing was
            written, and the caller's transaction must be rolled back.
    """
    wallet = sql.row(Wallet, HOLDER + sql.locking("w"), cause)
    if wallet is None:
        raise ValueError(f"Nothing was held for {cause}.")
    held_credits = dict(sql.rows(SETTLEMENT, cause))
    held = held_credits.pop(Entry.Kind.HOLD)
    if held_credits:
        raise ValueError(f"{cause} was settled before.")
    released_credits = held - captured_credits
    if captured_credits < 0 or released_credits < 0:
        raise ValueError(f"{captured_credits} of {held} held credits can't be captured.")
    if captured_credits:
        enter(wallet.pk, Entry.Kind.CAPTURE, cause, credits=0, held_credits=-captured_credits)
    if released_credits:
        enter(wallet.pk, Entry.Kind.RELEASE, cause, credits=released_credits, held_credits=-released_credits)
    come_in(wallet, released_credits, cause, no_longer_held=held)


def enter(
    user_id: int,
    kind: Entry.Kind,
    cause: str,
    *,
    credits: int,
    held_credits: int = 0,
    owed_credits: int = 0,
    note: str = "",
) -> None:
    """Write an entry; what it says of the wallet is the caller's to do."""
    sql.write(ENTER, user_id, kind, credits, held_credits, owed_credits, cause, note, timezone.now())


def locked(user_id: int) -> Wallet:
    """Return the wallet, locked: a second movement for the same cause waits here and then sees the first."""
    return Wallet.objects.select_for_update(no_key=True).get(user_id=user_id)


def known(cause: str, *kinds: Entry.Kind) -> bool:
    return Entry.objects.filter(cause=cause, kind__in=kinds).exists()


def come_in(wallet: Wallet, credits: int, cause: str, no_longer_held: int = 0) -> int:
    """Add credits to a locked wallet, less what it owes, and return what they repaid; their entry is the caller's."""
    repaid = min(wallet.owed, credits)
    if repaid:
        enter(wallet.pk, Entry.Kind.REPAY, cause, credits=-repaid, owed_credits=-repaid, note="Was owed")
    sql.write(COME_IN, credits - repaid, repaid, no_longer_held, wallet.pk)
    return repaid


def unspent_monthly_credits(wallet: Wallet) -> int:
    """Return how many plan credits are left; they are spent before all others, and never more than the balance."""
    last = wallet.entries.filter(kind=Entry.Kind.MONTH).order_by("-id").first()
    if last is None:
        return 0
    since = wallet.entries.filter(id__gt=last.pk, kind__in=[Entry.Kind.HOLD, Entry.Kind.RELEASE])
    spent = -(since.aggregate(sum=Sum("credits"))["sum"] or 0)
    return min(max(0, wallet.monthly - max(0, spent)), wallet.balance)


def differences() -> Iterator[str]:
    """Yield a sentence for every wallet that its entries don't explain, and every hold that was settled wrongly."""
    explained = Wallet.objects.annotate(
        explained_balance=Coalesce(Sum("entries__credits"), 0),
        explained_held=Coalesce(Sum("entries__held_credits"), 0),
        explained_owed=Coalesce(Sum("entries__owed_credits"), 0),
    )
    right = Q(balance=F("explained_balance"), held=F("explained_held"), owed=F("explained_owed"))
    for wallet in explained.exclude(right).iterator():
        yield (
            f"Wallet {wallet.pk}: balance {wallet.balance}, held {wallet.held} and owed {wallet.owed}, but its entries "
            f"say {wallet.explained_balance}, {wallet.explained_held} and {wallet.explained_owed}."
        )
    # A settled hold leaves exactly nothing held: what was set aside was captured or released, to the last credit.
    causes = Entry.objects.exclude(held_credits=0).values("cause").annotate(still_held=Sum("held_credits"))
    settled = Entry.objects.filter(kind__in=[Entry.Kind.CAPTURE, Entry.Kind.RELEASE]).values("cause")
    for row in causes.filter(cause__in=settled).exclude(still_held=0).iterator():
        yield f"Cause {row['cause']}: {row['still_held']} credits are still held though it was settled."


def moved_by_purchases() -> dict[str, int]:
    """Return what came in less what was taken back, of every purchase that the ledger knows, by its id."""
    kinds = [Entry.Kind.GRANT, Entry.Kind.MONTH, Entry.Kind.TAKE_BACK]
    entries = Entry.objects.filter(cause__startswith=PURCHASE, kind__in=kinds)
    moved: dict[str, int] = {}
    for cause, credits, owed_credits in entries.values_list("cause", "credits", "owed_credits").iterator():
        pk = cause.removeprefix(PURCHASE).partition("/")[0]
        moved[pk] = moved.get(pk, 0) + credits - owed_credits
    return moved
