"""`python -P -m tasks STAGE`: what `dvc.yaml` calls."""

import sys

if not sys.flags.safe_path:
    # Said before anything is imported: without `-P` Python looks for our modules in the workspace first.
    print(
        "error: dvc.yaml is of an earlier version, whose stages could import modules of the workspace; run: "
        "sed -i -e 's/python -m tasks/python -P -m tasks/' "
        "-e 's/generation, algorithm/generation, sampler.vllm, algorithm/' dvc.yaml "
        "&& dvc checkout && dvc commit -f",
        file=sys.stderr,
    )
    raise SystemExit(2)

if __name__ == "__main__":
    from tasks.stages.process import main

    main()
