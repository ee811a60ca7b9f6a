"""`python -m tasks STAGE`: what `dvc.yaml` calls."""

from tasks.stages.process import main

if __name__ == "__main__":
    main()
