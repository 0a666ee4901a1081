ARG BASE_IMAGE=python:3.11-slim
FROM ${BASE_IMAGE}

# /cache holds the weights and the converted graph. All that is written at run time goes to
# /tmp, so that the root file system may be read-only (HOME is for Ray's token).
ENV HOME=/tmp \
    TORCH_HOME=/cache/torch \
    XDG_CACHE_HOME=/cache \
    PYTHONUNBUFFERED=1 \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility

WORKDIR /app
COPY requirements.txt .
# Of packages beside PyPI's, such as PyTorch's for CPUs.
ARG PIP_EXTRA_INDEX_URL
# yes, for a GPU: the model's own kernels, which Triton compiles with gcc. Without them the image
# is smaller, and a GPU runs the model at a third of its speed.
ARG GPU_KERNELS=no
# hadolint ignore=DL3008
RUN if [ "${GPU_KERNELS}" = yes ]; then \
    apt-get update && apt-get install --yes --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*; fi
RUN pip install --no-cache-dir --disable-pip-version-check --root-user-action ignore \
    --requirement requirements.txt \
    && if [ "${GPU_KERNELS}" != yes ]; then \
    pip uninstall --yes --root-user-action ignore triton; fi

COPY deployments deployments

# auto: the official weights if the build can download them, else the stand-in. imagenet: no
# image without the official weights.
ARG WEIGHTS=auto
RUN python -m deployments.model.prefetch "${WEIGHTS}" && chown -R 1000:1000 /cache

COPY config/container.yaml config/container-auth.yaml config/

USER 1000:1000
EXPOSE 5000 5001
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=5s --start-period=2m --retries=3 \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:5000/readyz')"]
CMD ["python", "-m", "deployments", "config/container.yaml"]
