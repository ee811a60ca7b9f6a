"""The servers a company runs, on loopback: PostgreSQL, an object store, MLflow with accounts, Prefect."""
