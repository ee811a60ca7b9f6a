"""Servers that are not there, and servers that go away in the middle of a training."""

from __future__ import annotations

from apo_core.system.loopback import free_port
from faults.fault import Fault

_NOBODY = "http://127.0.0.1:9"
_STEPS = "data/unfinished/train/metrics.jsonl"
# Until the run in the background, $run, is in the middle of its training, or has ended.
_TRAINS = f"until [ -s {_STEPS} ] || ! kill -0 $run; do sleep 0.1; done"
_TRAINED_ONCE = "[ $(wc -l < data/metrics.jsonl) = 32 ] && ! grep -q 'Running stage .train' second"


def faults() -> list[Fault]:
    """All of them."""
    return [*_nobody(), *_own_prefect(), *_pages(), *_prefect_of_others(), *_mlflow()]


def _nobody() -> list[Fault]:
    prefect = {"PREFECT_API_URL": f"{_NOBODY}/api"}
    away = {"MLFLOW_TRACKING_URI": _NOBODY, "APO_AUDIT_URI": "audit"}
    return [
        Fault(name="Prefect that is not there", env=prefect, status=2, says="error: .*does not answer"),
        Fault(
            name="Prefect that is no address",
            env={"PREFECT_API_URL": "nonsense"},
            status=2,
            says="error: .*is no address",
        ),
        Fault(name="Prefect that is not there, a look", env=prefect, command="apo status", says="up to date"),
        Fault(name="MLflow that is not there", env=away, status=2, says="error: .*does not answer"),
        *(
            Fault(
                name=f"MLflow that is not there, apo {command.partition(' ')[0]}",
                env=away,
                command=f"timeout 120 apo {command}",
                status=2,
                says="error: .*(does not answer|Connection|refused|not reach|no run has been recorded)",
            )
            for command in ("audit apo-ci", "lineage apo-ci@champion", "reconcile apo-ci")
        ),
    ]


def _while_training(disturb: str, after: str = "wait $run") -> str:
    """Shell commands: a run, what is done in the middle of its training, and what comes then.

    What cannot be done ends with status 9.
    """
    begin = f"rm -f {_STEPS}; apo run --force train & run=$!; {_TRAINS}"
    return f"{begin}; {{ {disturb}; }} || {{ kill $run; exit 9; }}; {after}"


def _own_prefect() -> list[Fault]:
    server = "server=$(pgrep -P $run -f 'prefect server start'); [ -n \"$server\" ]"
    return [
        Fault(
            name=f"the run's own Prefect server, {name}",
            command=_while_training(f"{server} && {disturb}"),
            says="this run starts it again.*champion",
            same=("data/policy",),
        )
        for name, disturb in {
            "killed": "kill -9 $server",
            "killed twice": "kill -9 $server; sleep 12; pkill -9 -P $run -f 'prefect server start'",
        }.items()
    ] + [
        Fault(
            name="the run's own Prefect server, standing still for 20 s",
            command=_while_training(f"{server} && kill -STOP $server && sleep 20 && kill -CONT $server"),
            says="champion",
            same=("data/policy",),
        )
    ]


def _pages() -> list[Fault]:
    def adopted(disturb: str) -> str:
        pages = f"apo ui --prefect-port {free_port()} --mlflow-port {free_port()} > ui.log 2>&1 & ui=$!"
        return (
            f"{pages}; until [ -s .apo/prefect-api ] || ! kill -0 $ui; do sleep 0.2; done; "
            f"{_while_training(disturb)}"
        )

    return [
        Fault(
            name=f"apo ui that a run uses, {name}",
            command=adopted(disturb),
            says="this run is on the pages of `apo ui`.*champion",
            same=("data/policy",),
        )
        for name, disturb in {
            "closed": "kill $ui",
            "killed": "kill -9 $ui",
            "left open": "true",
        }.items()
    ]


def _prefect_of_others() -> list[Fault]:
    port = free_port()
    url = f"http://127.0.0.1:{port}/api"
    start = (
        f"mkdir srv; PREFECT_HOME=$PWD/srv prefect server start --host 127.0.0.1 --port {port} "
        "> srv.log 2>&1 & server=$!; "
        f"for n in $(seq 300); do curl -sf {url}/health > srv/up && break; sleep 0.2; done; "
        f"export PREFECT_API_URL={url}"
    )
    end = "kill -9 -- $(pgrep -P $server) $server"
    return [
        Fault(
            name="a Prefect server of others, killed",
            command=f"{start}; {_while_training(end)}; s=$?; unset PREFECT_API_URL; "
            f"apo run 2>&1 | tee second; {_TRAINED_ONCE} && exit $s",
            status=75,
            says="error: PREFECT_API_URL: .*the same command goes on from here.*champion",
            same=("data/policy",),
        ),
    ]


def _mlflow() -> list[Fault]:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    start = (
        "serve() { mlflow server --backend-store-uri sqlite:///srv.db --artifacts-destination $PWD/srv "
        f"--workers 1 --host 127.0.0.1 --port {port} >> srv.log 2>&1 & server=$!; "
        f"for n in $(seq 300); do curl -sf {url}/health > up && break; sleep 0.2; done; }}; serve; "
        f"export MLFLOW_TRACKING_URI={url} APO_AUDIT_URI=audit MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false"
    )
    kill = "kill -9 -- $server $(pgrep -P $server)"
    back = f"serve; apo run 2>&1 | tee second; s=$?; {_TRAINED_ONCE} && apo audit apo-ci && exit $s"
    return [
        Fault(
            name="an MLflow server, killed in the middle and back",
            command=f"{start}; {_while_training(f'{kill}; serve')}; s=$?; apo audit apo-ci && exit $s",
            says="champion.*verified",
            same=("data/policy",),
        ),
        Fault(
            name="an MLflow server, killed in the middle and back later",
            command=f"{start}; {_while_training(kill)} && exit 7; {back}",
            says="error: MLFLOW_TRACKING_URI: .*the same command goes on from here.*champion.*verified",
            same=("data/policy",),
        ),
    ]
