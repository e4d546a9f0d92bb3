"""Signs what is sent. Source of headers and signature: https://www.standardwebhooks.com"""

from datetime import datetime

from standardwebhooks.webhooks import Webhook

from accounts.models import User

HIDDEN = "v1,…"  # in the log: whoever has signature, headers and body could send them again


def headers(account: User, message_id: str, body: bytes, now: datetime) -> dict[str, str]:
    """Return the headers of one attempt; the signature covers `id.timestamp.body`, once for every live secret."""
    signatures = [Webhook(secret).sign(message_id, now, body.decode()) for secret in account.live_webhook_secrets]
    return {
        "Content-Type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(signatures),
    }


def loggable(headers: dict[str, str]) -> dict[str, str]:
    """Return the headers as they may be shown and kept."""
    return headers | {"webhook-signature": HIDDEN}
