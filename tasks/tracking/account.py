"""The account that MLflow's server knows this process by: what the server says, not what is set here."""

from __future__ import annotations

from tasks.tracking.registry import registry_errors
from tasks.tracking.store import is_remote

_CURRENT_USER = "/api/2.0/mlflow/users/current"
_NONE = (403, 404, 405, 501)  # a server without accounts, or a proxy that lets nobody ask for them


def current_account(uri: str) -> str | None:
    """Ask a tracking server whose account it takes this process's requests for; None if it has no accounts.

    Only MLflow's own accounts count. A workspace's own store has none, nor has a server whose users a proxy
    checks: it never learns their names.

    Args:
        uri: tracking URI; the credentials are those that MLflow's client uses there.

    Raises:
        ApoError: the server refuses the credentials, or does not answer.
    """
    if not is_remote(uri):
        return None
    from mlflow.utils.credentials import get_default_host_creds
    from mlflow.utils.rest_utils import http_request, verify_rest_response

    with registry_errors():
        response = http_request(get_default_host_creds(uri), _CURRENT_USER, "GET")
        if response.status_code in _NONE:
            return None
        user = verify_rest_response(response, _CURRENT_USER).json().get("user")
    return str(user["username"]) if user and "username" in user else None
