# Two images.  worker: launcher, trainer and torch.  controller: no torch.
#   docker build --target worker -t registry.example/ktrain-worker:0.1.0 .
ARG PYTHON_IMAGE=python:3.13-slim-trixie

# uv, by hash; only mounted below, in no image.
FROM ${PYTHON_IMAGE} AS uv
# Behind a private CA or index: --build-arg SSL_CERT_FILE=…, PIP_CERT=…, PIP_INDEX_URL=…, UV_DEFAULT_INDEX=…
ARG SSL_CERT_FILE
ARG PIP_CERT
ARG PIP_INDEX_URL
COPY hack/uv.txt /tmp/uv.txt
RUN python3 -m venv /opt/uv \
    && /opt/uv/bin/pip install --no-cache-dir --require-hashes --requirement /tmp/uv.txt
# What each image needs, with hashes: a change of the lock that does not touch an image leaves its packages alone.
WORKDIR /locked
COPY pyproject.toml uv.lock ./
RUN lock() { /opt/uv/bin/uv export --quiet --frozen --no-default-groups --no-emit-project --no-header "$@" >/dev/null; } \
    && lock --extra trainer --extra s3 --extra track --extra optim --extra data --extra metrics --output-file worker.txt \
    && lock --extra controller --output-file controller.txt

FROM ${PYTHON_IMAGE} AS base
# Whichever tini the base image's Debian has.
# hadolint ignore=DL3008
RUN command -v tini >/dev/null \
    || (apt-get update && apt-get install --yes --no-install-recommends tini && rm -rf /var/lib/apt/lists/*)
ENV PATH=/opt/ktrain/bin:/usr/local/bin:/usr/bin:/bin PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    UV_PYTHON_DOWNLOADS=never UV_LINK_MODE=copy UV_NO_PROGRESS=1 UV_CACHE_DIR=/cache/uv
ENTRYPOINT ["tini", "--"]

# Packages by the lock, with their hashes; a layer of its own that a change of our code leaves alone.
FROM base AS worker
ARG SSL_CERT_FILE
ARG UV_DEFAULT_INDEX
COPY --from=uv /locked/worker.txt /opt/worker.txt
RUN --mount=type=bind,from=uv,source=/opt/uv,target=/opt/uv --mount=type=cache,target=/cache/uv \
    /opt/uv/bin/uv venv --quiet --python "$(command -v python3)" /opt/ktrain \
    && /opt/uv/bin/uv pip install --quiet --python /opt/ktrain/bin/python --require-hashes --compile-bytecode \
         --requirement /opt/worker.txt \
    && echo /opt/ktrain-code >"$(echo /opt/ktrain/lib/python3*/site-packages)/ktrain-code.pth"
WORKDIR /work
COPY ktrain /opt/ktrain-code/ktrain
COPY launcher/ktrain_launcher /opt/ktrain-code/ktrain_launcher
COPY trainer/ktrain_trainer /opt/ktrain-code/ktrain_trainer
USER 10001:10001
CMD ["python", "-m", "ktrain_launcher"]

FROM base AS controller
ARG SSL_CERT_FILE
ARG UV_DEFAULT_INDEX
COPY --from=uv /locked/controller.txt /opt/controller.txt
RUN --mount=type=bind,from=uv,source=/opt/uv,target=/opt/uv --mount=type=cache,target=/cache/uv \
    /opt/uv/bin/uv venv --quiet --python "$(command -v python3)" /opt/ktrain \
    && /opt/uv/bin/uv pip install --quiet --python /opt/ktrain/bin/python --require-hashes --compile-bytecode \
         --requirement /opt/controller.txt \
    && echo /opt/ktrain-code >"$(echo /opt/ktrain/lib/python3*/site-packages)/ktrain-code.pth"
WORKDIR /work
COPY ktrain /opt/ktrain-code/ktrain
COPY controller/ktrain_controller /opt/ktrain-code/ktrain_controller
USER 10001:10001
CMD ["python", "-m", "ktrain_controller"]
