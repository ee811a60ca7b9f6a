"""What an account, a machine or a shell gives to a command: variables, limits, names, networks, clocks."""

from __future__ import annotations

import shutil
from pathlib import Path

from builders import BIN

from faults.fault import Fault, shim

_PROXY = "http://127.0.0.1:9"  # where nothing listens
_SAMPLES = ("data/samples.parquet", "data/values.parquet", "data/policy")


def faults(scratch: Path) -> list[Fault]:
    """All of them; `scratch` is for libraries that are compiled."""
    return [*_variables(), *_same_bytes(), *_limits(), *_networks(), *_clocks(scratch), *_dvc(), *_accounts()]


def _variables() -> list[Fault]:
    proxies = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), _PROXY)
    ascii_only = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C"}
    rollback = "apo rollback apo-ci --by 'Zoë' --reason 'größer'"
    return [
        Fault(name="a proxy without NO_PROXY", env=proxies, unset=("NO_PROXY", "no_proxy"), says="decision"),
        Fault(
            name="a SOCKS proxy",
            env={"ALL_PROXY": "socks5://127.0.0.1:9", "all_proxy": "socks5h://127.0.0.1:9"},
            unset=("NO_PROXY", "no_proxy"),
            says="decision",
        ),
        Fault(
            name="empty variables", env={"MLFLOW_TRACKING_URI": "", "PREFECT_API_URL": ""}, says="decision"
        ),
        Fault(
            name="more empty variables",
            env=dict.fromkeys(("APO_AUDIT_URI", "AWS_ENDPOINT_URL", "HF_HOME", "HOME", "USER", "TMPDIR"), ""),
            says="decision",
        ),
        Fault(
            name="git's variables of a hook",
            env={"GIT_DIR": "/nowhere", "GIT_INDEX_FILE": "/no"},
            says="decision",
        ),
        Fault(
            name="a terminal of ASCII",
            env={"PYTHONIOENCODING": "ascii"},
            command="apo audit apo-ci",
            says="verified",
        ),
        Fault(
            name="a locale of ASCII",
            env=ascii_only,
            command=rollback,
            status=2,
            says="no version was champion",
        ),
        Fault(
            name="a locale of ASCII, a run",
            env=ascii_only,
            command="apo run --set values.beta1=0.25 --by 'Zoë' && apo audit apo-ci",
            says="Zoë|Zo.xeb|Zo.u00eb",
        ),
        Fault(name="HOME that is not there", env={"HOME": "/nowhere"}, says="decision"),
        Fault(
            name="an experiment of the environment's",
            env={"MLFLOW_EXPERIMENT_NAME": "another", "MLFLOW_EXPERIMENT_ID": "77"},
            says="champion",
        ),
        Fault(name="a run of the environment's", env={"MLFLOW_RUN_ID": "0" * 32}, says="champion"),
        # The libraries' own warnings may end a stage then, by a traceback of theirs; nothing is lost by it.
        Fault(
            name="warnings that are errors, and then none",
            command="PYTHONWARNINGS=error apo run --force train > first 2>&1; apo run && apo fsck",
            says="champion.*everything is as it is recorded",
            same=("data/policy",),
        ),
        Fault(
            name="warnings that are errors, a look",
            env={"PYTHONWARNINGS": "error"},
            command="apo status",
            says="up to date",
        ),
        Fault(
            name="modules of PYTHONPATH",
            command="mkdir mine && echo 'raise RuntimeError' > mine/tasks_of_mine.py && "
            'PYTHONPATH="$PWD/mine:$PYTHONPATH" apo run --force report',
            says="champion",
        ),
        Fault(
            name="no git, apo init",
            env={"PATH": str(BIN)},
            command=f"{BIN}/apo init new --preset ci",
            says="is made",
        ),
        Fault(
            name="no git, a run",
            env={"PATH": str(BIN)},
            command=f"{BIN}/apo run --force report",
            says="champion",
        ),
        Fault(
            name="another shell",
            env={"SHELL": "/bin/false"},
            command="apo run --force values",
            says="champion",
            same=_SAMPLES,
        ),
    ]


def _same_bytes() -> list[Fault]:
    """What must not change a byte of what is sampled and trained."""
    environments = {
        "PYTHONHASHSEED=4242": {"PYTHONHASHSEED": "4242"},
        "TZ=America/New_York": {"TZ": "America/New_York"},
        "TZ=Asia/Kolkata, LC_ALL=C": {"TZ": "Asia/Kolkata", "LC_ALL": "C"},
    }
    return [
        Fault(
            name=f"{name}, the same bytes",
            env=env,
            command="apo run --force sample --force values && apo fsck",
            says="everything is as it is recorded",
            same=_SAMPLES,
        )
        for name, env in environments.items()
    ]


def _limits() -> list[Fault]:
    return [
        *(
            Fault(
                name=f"{files} open files",
                command=f"ulimit -n {files}; apo run --force report",
                says="champion",
            )
            for files in (256, 40)
        ),
        Fault(
            name="a reader that goes away",
            command="apo run --force report | head -1; apo audit apo-ci | head -1; apo run",
            says="champion",
        ),
        Fault(
            name="no output at all",
            command="apo run --force report >&- 2>&-; apo run",
            says="champion",
        ),
        Fault(
            name="a umask of 077",
            command="umask 077; apo run --force report && apo fsck",
            says="everything is as it is recorded",
        ),
    ]


def _networks() -> list[Fault]:
    own_network = ("unshare", "--net", "--uts")
    return [
        Fault(
            name="no network",
            before=own_network,
            command="ip link set lo up && apo run --force train",
            says="champion",
            same=("data/policy",),
        ),
        Fault(
            name="a host name that nobody knows",
            before=own_network,
            command="ip link set lo up && hostname nobody-knows-me.invalid && apo run --force train",
            says="champion",
            same=("data/policy",),
        ),
        Fault(
            name="loopback down",
            before=own_network,
            command="timeout 120 apo run --force report",
            status=2,
            says="error: ",
        ),
        Fault(
            name="loopback down, a stage by itself",
            before=own_network,
            command="timeout 120 apo stage train --force",
            status=2,
            says="error: ",
        ),
        Fault(
            name="loopback down, a look",
            before=own_network,
            command="apo status && apo audit apo-ci && apo fsck",
            says="everything is as it is recorded",
        ),
    ]


def _clocks(scratch: Path) -> list[Fault]:
    def jump(seconds: int) -> dict[str, str]:
        return {
            "LD_PRELOAD": shim("clock", scratch),
            "CLOCK_JUMP": str(seconds),
            "CLOCK_AFTER": "20",
        }

    steps = "[ $(wc -l < data/metrics.jsonl) = 32 ]"
    return [
        Fault(
            name=f"a clock that jumps by {hours:+} h in the middle",
            env=jump(hours * 3600),
            command=f"apo run --force train && {steps} && apo audit apo-ci",
            says="champion.*verified",
            same=("data/policy",),
        )
        for hours in (-2, 26)
    ]


def _dvc() -> list[Fault]:
    whole = "apo fsck"
    return [
        *(
            Fault(
                name=f"cache.type {kind}",
                command=f"dvc config cache.type {kind} && dvc checkout -q --relink && "
                "apo run --force values && apo run --set values.beta1=0.25 && "
                "apo run --set values.beta1=0.5 && "
                f'[ -z "$(find .apo/mlartifacts -type l)" ] && {whole}',
                do=_with_beta_known,
                says="everything is as it is recorded",
                same=("data/policy", "data/values.parquet"),
            )
            for kind in ("symlink", "hardlink")
        ),
        Fault(
            name="dvc gc, and an earlier value",
            do=_with_beta_known,
            command="apo run --set values.beta1=0.25 && dvc gc -w -f -q && apo run --set values.beta1=0.5 && "
            f"{whole}",
            says="everything is as it is recorded",
            same=("data/policy", "data/values.parquet"),
        ),
        Fault(
            name="dvc exp run",
            command="git init -q && git add -A && git -c user.name=A -c user.email=a@b commit -q -m first && "
            "dvc config --unset core.no_scm; dvc exp run -S values.beta1=0.25 && apo status && apo fsck",
            says="everything is as it is recorded",
        ),
        Fault(
            name="a cache that is removed",
            command="rm -r .dvc/cache && apo run && apo fsck",
            says="everything is as it is recorded",
            same=_SAMPLES,
        ),
        Fault(
            name="a lock of DVC's that nobody holds",
            command="echo '{\"/x\": {}}' > .dvc/tmp/rwlock; touch .dvc/tmp/rwlock.lock; "
            "apo run --force report",
            says="champion",
        ),
    ]


def _with_beta_known(workspace: Path) -> None:
    """The comparison needs the value that the finished workspace has."""
    assert "beta1: 0.25" not in (workspace / "params.yaml").read_text()


def _accounts() -> list[Fault]:
    nameless = ("unshare", "--user", "--map-user=4321")
    unnamed = ("USER", "LOGNAME", "HOME")
    return [
        Fault(name="a user without a name", before=nameless, unset=unnamed, says="decision"),
        Fault(
            name="a user without a name, a decision",
            before=nameless,
            unset=unnamed,
            command="apo reject apo-ci 1 --by A --reason b",
            status=2,
            says="error: ",
        ),
        Fault(
            name="HOME of another account",
            before=nameless,
            do=_with_home_of_another,
            command='HOME="$PWD/home" apo run --force report',
            says="champion",
        ),
    ]


def _with_home_of_another(workspace: Path) -> None:
    home = workspace / "home"
    home.mkdir(mode=0o700)
    shutil.chown(home, 4321, 4321)
