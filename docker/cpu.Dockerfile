# The trainer without a GPU, its worker and its servers, in one image. From the checkout's root:
#   docker build --file docker/cpu.Dockerfile --tag apo-flow:0.1.0 .
# Any base of Debian's family does; one without a Python from 3.11 to 3.13 gets its distribution's.
ARG BASE_IMAGE=python:3.11-slim-bookworm

FROM ${BASE_IMAGE} AS base
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
# git for DVC and lineage; g++ and Python's headers for what torch, DeepSpeed and verifiers may compile as they run;
# tini, because DVC takes a killed stage that nobody reaps for alive. The distribution drops old versions of its
# packages, so none is named.
# hadolint ignore=DL3008
RUN packages=(ca-certificates g++ git tini) \
    && if ! python3 -c 'import ensurepip, os, sys, sysconfig; sys.exit(not ((3, 11) <= sys.version_info[:2] <= (3, 13) and os.path.exists(sysconfig.get_path("include") + "/Python.h")))' 2>/dev/null; \
       then packages+=(python3 python3-dev python3-venv); fi \
    && apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends "${packages[@]}" \
    && rm -rf /var/lib/apt/lists/*

FROM base AS build
# A registry's mirror, without credentials: build arguments stay in the image's history.
ARG PIP_INDEX_URL
# Where a CPU build of torch lies: an address, or a directory that the builder mounts. Without it torch brings CUDA.
ARG PIP_FIND_LINKS
WORKDIR /build
RUN python3 -m venv uv && uv/bin/pip install --no-cache-dir uv==0.13.9
COPY requirements/base.txt .
RUN python3 -m venv /opt/apo \
    && uv/bin/uv pip install --no-cache --compile-bytecode --python /opt/apo/bin/python \
        ${PIP_INDEX_URL:+--index-url "${PIP_INDEX_URL}"} ${PIP_FIND_LINKS:+--find-links "${PIP_FIND_LINKS}"} \
        --requirement base.txt
COPY . .
RUN uv/bin/uv build --no-cache --wheel --out-dir wheel ${PIP_INDEX_URL:+--index-url "${PIP_INDEX_URL}"}

FROM base
LABEL org.opencontainers.image.title="apo-flow" org.opencontainers.image.licenses="Apache-2.0"
ENV PATH=/opt/apo/bin:${PATH} \
    PYTHONUNBUFFERED=1 \
    # Where the volume is.
    APO_WORKSPACES=/workspaces \
    # Nothing phones home.
    DO_NOT_TRACK=1 \
    DVC_NO_ANALYTICS=1 \
    GX_ANALYTICS_ENABLED=false \
    HF_HUB_DISABLE_TELEMETRY=1 \
    MLFLOW_DISABLE_TELEMETRY=true \
    PREFECT_SERVER_ANALYTICS_ENABLED=false \
    # Or MLflow's server starts ten processes that hold 2.5 GB.
    MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false
# Its number, because Kubernetes can only tell from a number that it is not root.
RUN useradd --uid 10001 --create-home --shell /bin/bash apo && install --directory --owner apo --group apo /workspaces
# The environment is a layer of its own: a change of the code replaces the small one after it.
COPY --from=build /opt/apo /opt/apo
RUN --mount=type=bind,from=build,source=/build/wheel,target=/mnt \
    pip install --no-cache-dir --no-index --no-deps /mnt/*.whl
COPY docker/healthcheck.py docker/provision.py /opt/apo/share/
USER 10001
WORKDIR /workspaces
HEALTHCHECK --interval=30s --timeout=10s --start-period=120s --retries=3 \
    CMD ["python", "/opt/apo/share/healthcheck.py"]
# Prefect's Docker and Kubernetes workers give commands of their own: what comes is run as it is.
ENTRYPOINT ["tini", "-g", "--"]
CMD ["apo", "--help"]
