"""Telling people: a signed message to the webhook of `APO_WEBHOOK_URL`, where there is one.

The body is JSON, its signature the header `X-Apo-Signature: sha256=...`, an HMAC of the body by the secret of
`APO_WEBHOOK_SECRET`: a receiver that knows the secret knows who wrote.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Literal

from apo_core.errors import ApoError

URL, SECRET = "APO_WEBHOOK_URL", "APO_WEBHOOK_SECRET"
SIGNATURE = "X-Apo-Signature"
Occasion = Literal["outcome", "approval wanted", "failure"]
_TRIES = 4
_SECONDS = 10  # that a receiver has to answer


def check_settings() -> None:
    """See that messages can be signed.

    Raises:
        ApoError: there is an address and no secret.
    """
    if os.environ.get(URL) and not os.environ.get(SECRET):
        raise ApoError(f"{URL} is set without {SECRET}: messages are signed")


def notify(
    occasion: Occasion, model: str, text: str, links: dict[str, str], warn: Callable[[str], object]
) -> bool:
    """Send a message; whether it arrived. One that does not is warned of: no run fails by it."""
    if not os.environ.get(URL):
        return False
    import requests
    from requests.adapters import HTTPAdapter, Retry

    time = datetime.now(UTC).isoformat()
    message = {"occasion": occasion, "model": model, "text": text, "links": links, "time": time}
    body = json.dumps(message, sort_keys=True).encode()
    retries = Retry(
        total=_TRIES - 1, backoff_factor=0.5, status_forcelist=(429, 500, 502, 503, 504), allowed_methods=None
    )
    session = requests.Session()
    for scheme in ("http://", "https://"):
        session.mount(scheme, HTTPAdapter(max_retries=retries))
    headers = {"Content-Type": "application/json", SIGNATURE: signature(body, os.environ[SECRET])}
    try:
        session.post(os.environ[URL], data=body, headers=headers, timeout=_SECONDS).raise_for_status()
    except requests.RequestException as error:
        # Not its text, which has the address: that may hold a key.
        warn(f"{occasion}: the webhook did not take the message: {type(error).__name__}")
        return False
    return True


def signature(body: bytes, secret: str) -> str:
    """What the header says of a body."""
    return f"sha256={hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}"
