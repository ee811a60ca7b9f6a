"""Notifications: a signed message to the webhook of `APO_WEBHOOK_URL`, if there is one.

The body is JSON, its signature the header `X-Apo-Signature: sha256=...`, an HMAC of the body by the secret of
`APO_WEBHOOK_SECRET`: a receiver that knows the secret can check who sent it.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Literal

from apo_core.errors import ApoError

URL, SECRET = "APO_WEBHOOK_URL", "APO_WEBHOOK_SECRET"
SIGNATURE = "X-Apo-Signature"
Occasion = Literal["outcome", "approval wanted", "failure"]
_PAUSES = (0.5, 2.0, 8.0)  # seconds before a message is sent again
_TIMEOUT = 10  # seconds a receiver has to answer
_TRANSIENT = {408, 425, 429, 500, 502, 503, 504}


def check_secret() -> None:
    """Check that messages can be signed.

    Raises:
        ApoError: there is an address but no secret.
    """
    if os.environ.get(URL) and not os.environ.get(SECRET):
        raise ApoError(f"{URL} is set without {SECRET}: expected both, because messages are signed")


def notify(
    occasion: Occasion, model: str, text: str, links: dict[str, str], warn: Callable[[str], object]
) -> bool:
    """Send a message, and say whether it arrived. If it does not, the run gets a warning and goes on."""
    if not (os.environ.get(URL) and os.environ.get(SECRET)):
        return False
    now = datetime.now(UTC).isoformat()
    message = {"occasion": occasion, "model": model, "text": text, "links": links, "time": now}
    body = json.dumps(message, sort_keys=True).encode()
    for pause in (*_PAUSES, None):
        problem, transient = _post(body)
        if problem is None:
            return True
        if pause is None or not transient:
            warn(f"{occasion}: the webhook did not take the message: {problem}")
            return False
        time.sleep(pause)
    raise AssertionError("the last pause is None")


def signature(body: bytes, secret: str) -> str:
    """Sign a body, as the header has it."""
    return f"sha256={hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}"


def _post(body: bytes) -> tuple[str | None, bool]:
    """Post a body; return what went wrong, without the address (a secret), and if a retry may help."""
    import requests

    headers = {"Content-Type": "application/json", SIGNATURE: signature(body, os.environ[SECRET])}
    try:
        # Not by a session with retries, which log the address; a redirect would lose the body.
        answer = requests.post(
            os.environ[URL], data=body, headers=headers, timeout=_TIMEOUT, allow_redirects=False
        )
    except (requests.ConnectionError, requests.Timeout) as error:
        return type(error).__name__, True
    except requests.RequestException as error:
        return type(error).__name__, False
    if 200 <= answer.status_code < 300:
        return None, False
    return f"HTTP status {answer.status_code}", answer.status_code in _TRANSIENT
