"""An object store that is slow, loses answers, damages bytes, or refuses."""

from __future__ import annotations

import atexit
import functools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

from builders import flip_a_byte
from service_fixtures import s3_env, temporary_services

from faults.fault import Fault
from faults.s3_proxy import Failure, Refusal, Request, proxied

_SLOW = Refusal(503, "SlowDown", "Please reduce your request rate.")
_INTERNAL = Refusal(500, "InternalError", "We encountered an internal error. Please try again.")
_EXPIRED = Refusal(400, "ExpiredToken", "The provided token has expired.")
_SKEWED = Refusal(
    403, "RequestTimeTooSkewed", "The difference between the request time and now is too large."
)
_MOVED = Refusal(301, "PermanentRedirect", "This bucket must be addressed using another endpoint.")

_FLIP = """
import boto3, sys
client, (bucket, key) = boto3.client("s3"), sys.argv[1:]
content = client.get_object(Bucket=bucket, Key=key)["Body"].read()
client.put_object(Bucket=bucket, Key=key, Body=content[:-1] + bytes([content[-1] ^ 1]))
"""
_WEIGHTS = "data/policy/model.safetensors"
_PUBLISH = "apo publish apo-ci@champion s3://data/$NAME"
_DIRECT = "AWS_ENDPOINT_URL=$DIRECT"
_DOWNLOAD = "apo download s3://data/$NAME/apo-ci/1 copy"
_WHOLE = f"{_DIRECT} {_DOWNLOAD} && cmp copy/model.safetensors {_WEIGHTS}"
_NOTHING_LEFT = 's=$?; [ -z "$(ls -d copy* .copy* 2>/dev/null)" ] || s=9; exit $s'


def faults() -> list[Fault]:
    """All of them."""
    return [*_publications(), *_downloads(), *_damaged_there(), *_remotes()]


@functools.cache
def _server() -> dict[str, str]:
    """The variables of clients of a server of this process's own, started once."""
    stack = ExitStack()
    atexit.register(stack.close)
    services = stack.enter_context(temporary_services())
    services.start("s3")
    return s3_env(services)


def _failing(name: str, failure: Failure) -> Callable[[], AbstractContextManager[dict[str, str]]]:
    """The server behind a proxy that fails; DIRECT is its own address, NAME is for objects of the fault."""

    @contextmanager
    def serve() -> Iterator[dict[str, str]]:
        env = _server()
        target = env["AWS_ENDPOINT_URL"]
        with proxied(target, failure) as address:
            yield env | {"AWS_ENDPOINT_URL": address, "DIRECT": target, "NAME": name}

    return serve


def _refusing(refusal: Refusal, when: Callable[[Request], bool]) -> Failure:
    return Failure(refuses=lambda request: refusal if when(request) else None)


def _publications() -> list[Fault]:
    whole = {
        "SlowDown at every second request": _refusing(_SLOW, lambda request: request.number % 2 == 1),
        "InternalError at every third request": _refusing(_INTERNAL, lambda request: request.number % 3 == 0),
        "lost answers": Failure(
            loses=lambda request: request.method in ("PUT", "POST") and request.times == 1
        ),
        "a request that hangs for a minute": Failure(
            waits=lambda request: 62.0 if request.number == 6 else 0.0
        ),
        "SlowDown for 10 s": _refusing(_SLOW, lambda request: request.seconds < 10),
    }
    refused = {
        "ExpiredToken at once": (_refusing(_EXPIRED, lambda request: True), "[Cc]redentials|[Tt]oken"),
        "ExpiredToken in the middle": (
            _refusing(_EXPIRED, lambda request: request.number > 7),
            "[Cc]redentials|[Tt]oken",
        ),
        "a clock that is wrong": (_refusing(_SKEWED, lambda request: True), "[Tt]ime"),
        "a bucket of another region": (_refusing(_MOVED, lambda request: True), "[Rr]egion|[Ee]ndpoint|301"),
        "SlowDown for ever": (_refusing(_SLOW, lambda request: True), "SlowDown|503|request rate"),
    }
    return [
        *(
            Fault(
                name=f"apo publish, {name}",
                server=_failing(f"publish-{number}", failure),
                command=f"{_PUBLISH} && {_WHOLE}",
                says="holds apo-ci version 1 .*copy holds",
            )
            for number, (name, failure) in enumerate(whole.items())
        ),
        *(
            Fault(
                name=f"apo publish, {name}",
                server=_failing(f"refused-{number}", failure),
                # What was refused is completed by the same command.
                command=f"timeout 120 {_PUBLISH}; s=$?; {_DIRECT} {_PUBLISH} && {_WHOLE} && exit $s",
                status=2,
                says=f"error: s3://data/[^:]*: [^\n]*({said}).*copy holds",
            )
            for number, (name, (failure, said)) in enumerate(refused.items())
        ),
    ]


def _downloads() -> list[Fault]:
    refused = {
        "a flipped bit": (Failure(flips=True), "is damaged|arrived damaged|[Cc]hecksum"),
        "bodies that break off": (Failure(cuts=lambda request: True), ""),
        "ExpiredToken": (_refusing(_EXPIRED, lambda request: True), "[Cc]redentials|[Tt]oken"),
    }
    whole = {
        "every body breaks off once": Failure(cuts=lambda request: request.times == 1),
        "SlowDown at every second request": _refusing(_SLOW, lambda request: request.number % 2 == 1),
    }
    return [
        *(
            Fault(
                name=f"apo download, {name}",
                server=_failing(f"download-{number}", failure),
                command=f"{_DIRECT} {_PUBLISH} > /dev/null && {_DOWNLOAD}; {_NOTHING_LEFT}",
                status=2,
                says=f"error: s3://data/\\S+: .*({said})",
            )
            for number, (name, (failure, said)) in enumerate(refused.items())
        ),
        *(
            Fault(
                name=f"apo download, {name}",
                server=_failing(f"arrives-{number}", failure),
                command=f"{_DIRECT} {_PUBLISH} && {_DOWNLOAD} && cmp copy/model.safetensors {_WEIGHTS}",
                says="copy holds",
            )
            for number, (name, failure) in enumerate(whole.items())
        ),
    ]


def _damaged_there() -> list[Fault]:
    def flip(key: str) -> str:
        return f"python -c '{_FLIP}' data $NAME/apo-ci/1/{key}"

    def in_registry(workspace: Path) -> None:
        (weights,) = (workspace / ".apo/mlartifacts").rglob("model.safetensors")
        flip_a_byte(weights)

    return [
        Fault(
            name="the registry's copy, a flipped byte, apo publish",
            do=in_registry,
            server=_failing("unsent", Failure()),
            command=f"{_PUBLISH}; s=$?; {_DOWNLOAD} || exit $s",
            status=2,
            says="error: .*its files are not what was registered",
        ),
        *(
            Fault(
                name=f"a published copy, a flipped byte in {key}",
                server=_failing(f"rotten-{key}", Failure()),
                command=f"{_PUBLISH} && {flip(key)} && {_DOWNLOAD}; {_NOTHING_LEFT}",
                status=2,
                says="error: s3://data/.*(is damaged|manifest)",
            )
            for key in ("model.safetensors", "config.json", "manifest.json")
        ),
        Fault(
            name="a published copy, a flipped byte, published again",
            server=_failing("mended", Failure()),
            command=f"{_PUBLISH} && {flip('model.safetensors')} && {_PUBLISH} && {_WHOLE}",
            says="is damaged there.*copy holds",
        ),
    ]


def _remotes() -> list[Fault]:
    digest = f"m=$(md5sum < {_WEIGHTS} | cut -c1-32)"
    pushed = "dvc remote add -q --default store s3://dvc/$NAME && dvc push -q"
    damaged = f"{pushed} && {digest} && python -c '{_FLIP}' dvc $NAME/files/md5/${{m:0:2}}/${{m:2}}"
    return [
        Fault(
            name="a remote on S3, a flipped byte, apo fsck",
            server=_failing("fsck", Failure()),
            command=f"{damaged} && apo fsck && apo fsck",
            says="remote: .*replaced by a whole copy.*everything is as it is recorded",
        ),
        Fault(
            name="a remote on S3, a flipped byte, the cache lost, apo restore",
            server=_failing("restore", Failure()),
            command=f"{damaged} && rm -r .dvc/cache data/policy && apo restore apo-ci@champion",
            status=2,
            says="is not what stage train wrote",
        ),
        Fault(
            name="a remote on S3 that flips bits on the way, apo restore",
            server=_failing("way", Failure(flips=True)),
            command=f"{pushed} && rm -r .dvc/cache data/policy && apo restore apo-ci@champion",
            status=2,
            says="is not what stage train wrote",
        ),
        Fault(
            name="a remote on S3 that is slow, a run",
            server=_failing("slow", _refusing(_SLOW, lambda request: request.number % 2 == 1)),
            command="dvc remote add -q --default store s3://dvc/$NAME && apo run --force report && apo fsck",
            says="champion.*everything is as it is recorded",
        ),
    ]
