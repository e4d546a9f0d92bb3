import base64
import hashlib
import hmac
import time


def is_genuine(secret: str, headers: dict[str, str], body: bytes) -> bool:
    """Tell whether the request is from us, unchanged, and not older than five minutes.

    `body` is the raw body, before any JSON is read; names of headers are in lower case.
    """
    message_id, timestamp = headers["webhook-id"], headers["webhook-timestamp"]
    if not timestamp.isdigit() or abs(time.time() - int(timestamp)) > 300:
        return False
    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = hmac.new(key, f"{message_id}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    expected = b"v1," + base64.b64encode(digest)
    signatures = headers["webhook-signature"].encode().split()  # several while the secret is being changed
    return any(hmac.compare_digest(expected, signature) for signature in signatures)
