"""Where a workspace lies: its path, its repository, its file system, and what else is in it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from faults.fault import OWN_MOUNTS, Fault, shim

# Without root's power over the files of other accounts.
_NOBODY = ("unshare", "--user", "--map-user=4321")
_MORE_ROOM = 64 * 1024  # KiB


def faults(scratch: Path) -> list[Fault]:
    """All of them; `scratch` is for libraries that are compiled."""
    return [*_names(), *_repositories(), *_read_only(), *_full(), *_file_systems(scratch), *_foreign()]


def _names() -> list[Fault]:
    hostile = ("#", "%20", " ", "ü", "'", '"', "$HOME", ";", "()", "[]", "&", "=")
    long = "x" * 250
    return [
        Fault(
            name="moved",
            command='mv "$PWD" "$PWD-moved" && apo run -w "$PWD-moved"; mv "$PWD-moved" "$PWD"',
            says="nothing changed",
        ),
        Fault(
            name="copied, and the first removed",
            command='here=$PWD; cp -a . "$here-copy" && mv "$here" "$here-gone" && cd "$here-copy" && '
            'apo run --force report && apo fsck; s=$?; test ! -e "$here" || s=9; '
            'mv "$here-gone" "$here"; rm -r "$here-copy"; exit $s',
            says="everything is as it is recorded",
        ),
        Fault(
            name="copied: the first stays as it is",
            command='here=$PWD; apo audit apo-ci; cp -a . "$here-copy" && cd "$here-copy" && '
            'apo run --force report; s=$?; diff -rq "$here/.apo/mlartifacts" .apo/mlartifacts | '
            'grep "Only in $here/" && s=9; cd "$here"; [ $(ls .apo/mlartifacts | wc -l) = 2 ] || s=8; '
            'rm -r "$here-copy"; exit $s',
            says="champion",
        ),
        Fault(
            name="by a symbolic link",
            command='ln -s "$PWD" "$PWD-link"; cd "$PWD-link" && apo run; s=$?; rm "$PWD"; exit $s',
            says="nothing changed",
        ),
        *(
            Fault(
                name=f"`{part}` in the path",
                env={"NAME": f"a{part}b"},
                command='here=$PWD; mv "$here" "$here-$NAME"; cd "$here-$NAME"; apo run --force report; '
                's=$?; cd /; mv "$here-$NAME" "$here"; exit $s',
                says="champion",
            )
            for part in hostile
        ),
        *(
            Fault(
                name=f"`{part}` in the path",
                env={"NAME": f"a{part}b"},
                status=2,
                says=r"error: .*has a `.` in its path.*move the workspace",
                command='here=$PWD; mv "$here" "$here-$NAME"; apo run -w "$here-$NAME"; '
                's=$?; cd /; mv "$here-$NAME" "$here"; exit $s',
            )
            for part in ("?", "\\", "{a}", "}")
        ),
        Fault(
            name="a path of more than 512 bytes",
            command=f'here=$PWD; mkdir -p "$here-long/{long}/{long}"; deep="$here-long/{long}/{long}/w"; '
            'mv "$here" "$deep"; apo run -w "$deep"; s=$?; mv "$deep" "$here"; rm -r "$here-long"; exit $s',
            status=2,
            says="error: .*(bytes|path)",
        ),
    ]


_COMMIT = "git init -q && git add -A && git -c user.name=A -c user.email=a@b commit -q -m first"
_TRAINED = "apo stage train --force"  # the lineage has the commit of the training
_PRINT = 'import json; print("commit:", json.load(open("reports/stages/train.json"))["git_commit"])'
_RECORDED = f"python -c '{_PRINT}'"


def _repositories() -> list[Fault]:
    def ignored(workspace: Path) -> None:
        subprocess.run(["git", "init", "-q"], cwd=workspace, check=True)
        (workspace / ".dvc/config").write_text("")
        (workspace / ".gitignore").write_text("*.lock\n")

    def committed(workspace: Path) -> None:
        subprocess.run(["bash", "-c", _COMMIT], cwd=workspace, check=True)

    def of_another(workspace: Path) -> None:
        committed(workspace)
        shutil.chown(workspace, 4321, 4321)
        subprocess.run(["chown", "-R", "4321:4321", ".git"], cwd=workspace, check=True)

    def broken_index(workspace: Path) -> None:
        committed(workspace)
        (workspace / ".git/index").write_bytes(b"no index")

    trained = f"{_TRAINED} && {_RECORDED}"
    own, commit = f"{_RECORDED} | grep -q $(git rev-parse HEAD)", "commit: [0-9a-f]{40}"
    return [
        Fault(name="dvc.lock that git ignores", do=ignored, status=2, says="git ignores"),
        Fault(
            name="a repository of another account",
            do=of_another,
            env={"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null"},
            command=trained,
            says="commit: unknown: .*dubious ownership",
        ),
        Fault(
            name="a broken index of git", do=broken_index, command=trained, says="commit: unknown: .*index"
        ),
        Fault(
            name="GIT_DIR of another repository",
            do=committed,
            command="git init -q other && git -C other -c user.name=A -c user.email=a@b commit -q "
            f"--allow-empty -m other && GIT_DIR=$PWD/other/.git {trained} && {own}",
            says=commit,
        ),
        Fault(
            name="a detached HEAD",
            do=committed,
            command=f"git checkout -q --detach && {trained} && {own}",
            says=commit,
        ),
        Fault(
            name="a shallow clone",
            do=committed,
            command='git clone -q --depth 1 "file://$PWD" c && cp -an .dvc data reports c && cd c && '
            f"{trained} && {own}",
            says=commit,
        ),
        Fault(
            name="a changed file that git knows",
            do=committed,
            command=f"echo '# mine' >> params.yaml && {trained}",
            says=r"commit: [0-9a-f]{40}\+changes",
        ),
    ]


def _read_only() -> list[Fault]:
    read_only = 'mount --bind "$PWD" "$PWD" && mount -o remount,ro,bind "$PWD" && cd "$PWD"'
    looks = {
        "status": "up to date",
        "audit apo-ci": "verified",
        "lineage apo-ci@champion": "apo-ci/1",
        "doctor": "",
    }
    writes = ("run", "fsck", "stage values --force", "reject apo-ci 1 --by A --reason b")
    return [
        *(
            Fault(
                name=f"read-only, apo {look.partition(' ')[0]}",
                before=OWN_MOUNTS,
                command=f"{read_only} && apo {look}",
                says=says,
            )
            for look, says in looks.items()
        ),
        *(
            Fault(
                name=f"read-only, apo {write.partition(' ')[0]}",
                before=OWN_MOUNTS,
                command=f"{read_only} && apo {write}",
                status=2,
                # What no version waits for is refused whether or not it could be written.
                says="error: .*(cannot be written|[Rr]ead-only|does not wait for a decision)",
            )
            for write in writes
        ),
        Fault(
            name="a cache that cannot be written",
            before=OWN_MOUNTS,
            command="mount --bind .dvc/cache .dvc/cache && mount -o remount,ro,bind .dvc/cache && "
            "apo run --force values --set values.beta1=0.25",
            status=2,
            says="error: .*([Rr]ead-only|cannot be written)",
        ),
        Fault(
            name="a workspace of another account, a look",
            do=_of_another_account,
            before=_NOBODY,
            command="apo status && apo audit apo-ci && apo lineage apo-ci@champion",
            unset=("HOME", "USER", "LOGNAME"),
            says="up to date.*verified.*apo-ci/1",
        ),
        Fault(
            name="a workspace of another account, a run",
            do=_of_another_account,
            before=_NOBODY,
            command="apo run",
            unset=("HOME", "USER", "LOGNAME"),
            status=2,
            says="error: .*cannot be written",
        ),
    ]


def _of_another_account(workspace: Path) -> None:
    subprocess.run(["chown", "-R", "4321:4321", "."], cwd=workspace, check=True)


def _small(directory: str, free: int) -> str:
    """Shell commands that put a directory on a disk of its own with so many KiB free."""
    return (
        f'cp -a {directory} "$PWD.kept" && '
        f"mount -t tmpfs -o size=$(( $(du -sk {directory} | cut -f1) + {free} ))k none {directory} && "
        f'cp -a "$PWD.kept/." {directory}'
    )


def _full() -> list[Fault]:
    def filled(directory: str, free: int, stage: str) -> Fault:
        room = f"size=$(( $(du -sk {directory} | cut -f1) + {_MORE_ROOM} ))k"
        return Fault(
            name=f"{free} KiB free for {directory}, apo run --force {stage}",
            before=OWN_MOUNTS,
            # The first run may end well where it needs less; else by one line, and the next one completes it.
            command=f'trap \'rm -rf "$PWD.kept" "$PWD.first"\' EXIT; {_small(directory, free)} || exit 8; '
            f'sha256sum data/policy/* > "$PWD.first"; '
            f"apo run --force {stage} > .out 2>&1; s=$?; cat .out; [ $s = 0 ] || "
            f"{{ [ $s = 2 ] && tail -n 1 .out | grep '^error: '; }} || exit 7; "
            f"mount -o remount,{room} {directory} && apo run && apo audit apo-ci && apo fsck && "
            'sha256sum --quiet -c "$PWD.first"',
            says="champion.*verified.*everything is as it is recorded",
        )

    return [
        filled("data", 1024, "train"),
        filled("data", 100, "sample"),
        filled(".dvc", 256, "train"),
        filled(".apo", 16, "report"),
        Fault(
            name="16 KiB free for .apo, what is said",
            before=OWN_MOUNTS,
            command=f"trap 'rm -rf \"$PWD.kept\"' EXIT; {_small('.apo', 16)} || exit 8; "
            "apo status && apo run",
            status=2,
            says="up to date.*needs 16 MiB free",
        ),
        filled(".apo", 1024, "report"),
        filled("reports", 4, "evaluate"),
        Fault(
            name="TMPDIR full",
            before=OWN_MOUNTS,
            command="mkdir tiny && mount -t tmpfs -o size=64k none tiny; head -c 1M /dev/zero > tiny/x; "
            "TMPDIR=$PWD/tiny apo run --force report; s=$?; [ $s = 0 ] || [ $s = 2 ]",
            says="champion|error: ",
        ),
        Fault(name="TMPDIR missing", env={"TMPDIR": "/nowhere"}, says="champion"),
    ]


def _file_systems(scratch: Path) -> list[Fault]:
    return [
        Fault(
            name="read-only /dev/shm",
            before=OWN_MOUNTS,
            status=2,
            says="need semaphores in /dev/shm",
            command="mount -t tmpfs -o ro none /dev/shm && apo verify --set verifier.name=math "
            "--set 'verifier.extract=[last]'",
        ),
        Fault(
            name="read-only /dev/shm, a verifier that needs none",
            before=OWN_MOUNTS,
            command="mount -t tmpfs -o ro none /dev/shm && apo run --force evaluate",
            says="champion",
        ),
        Fault(
            name="no locks", env={"LD_PRELOAD": shim("no_locks", scratch)}, status=2, says="keeps no locks"
        ),
        Fault(
            name="no locks, a look",
            env={"LD_PRELOAD": shim("no_locks", scratch)},
            command="apo status && apo audit apo-ci",
            says="keeps no locks.*verified",  # DVC does not look without them
        ),
        Fault(
            name="no hard links",
            env={"LD_PRELOAD": shim("no_links", scratch)},
            says="champion",
            do=lambda workspace: shutil.rmtree(workspace / ".apo"),
            command="apo run && apo audit apo-ci",
        ),
    ]


def _foreign() -> list[Fault]:
    ran = "open('ran', 'a').write(__file__)\nraise RuntimeError(__file__)\n"
    names = ("tasks.py", "prefect.py", "apo_core.py", "mlflow.py", "dvc.py", "torch.py", "flows/__init__.py")

    def foreign(workspace: Path) -> None:
        for name in names:
            (workspace / name).parent.mkdir(exist_ok=True)
            (workspace / name).write_text(ran)

    return [
        Fault(
            name="modules of the workspace with our names, a run",
            do=foreign,
            command="apo run --force train && test ! -e ran",
            says="champion",
            same=("data/policy",),
        ),
        Fault(
            name="modules of the workspace with our names, looks",
            do=foreign,
            command="apo status && apo audit apo-ci && apo lineage apo-ci@champion && apo fsck && "
            "test ! -e ran",
            says="everything is as it is recorded",
        ),
    ]
