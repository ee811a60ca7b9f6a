"""`python -m tasks STAGE`: what `dvc.yaml` calls."""

from tasks.stage import main

if __name__ == "__main__":
    main()
