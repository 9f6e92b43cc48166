# One image for the API and the worker, on amd64 and arm64. All compiled dependencies have wheels for both.
#   docker build -t smarthouse-api .
#   docker build -t smarthouse-api --build-arg EXTRAS=spark .     includes the Spark Connect client
ARG PYTHON=3.12-slim-bookworm

FROM python:${PYTHON} AS build
ARG EXTRAS=""
WORKDIR /src
RUN python -m venv --without-pip /opt/smarthouse
COPY LICENSE README.md pyproject.toml setup.cfg wsgi.py ./
COPY backends backends
COPY blueprints blueprints
COPY config config
COPY smarthouse_api smarthouse_api
RUN --mount=type=cache,target=/root/.cache/pip \
    pip --disable-pip-version-check --python /opt/smarthouse/bin/python install ".${EXTRAS:+[${EXTRAS}]}"

FROM python:${PYTHON}
LABEL org.opencontainers.image.title="SmartHouse API" org.opencontainers.image.licenses="MIT"
RUN groupadd --gid 10001 smarthouse && \
    useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin smarthouse
COPY --from=build /opt/smarthouse /opt/smarthouse
# Name both stores: data inside the container is lost with it. The container writes only to /tmp and /dev/shm.
ENV PATH=/opt/smarthouse/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    SMARTHOUSE_ENV=production \
    HOST=0.0.0.0 \
    PORT=8000
WORKDIR /opt/smarthouse
USER 10001:10001
EXPOSE 8000
# For the API. `smarthouse worker` listens on no port and needs another check: compose.yaml has one.
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s \
    CMD ["python", "-c", "import http.client, os, sys; c = http.client.HTTPConnection('127.0.0.1', int(os.environ['PORT']), timeout=4); c.request('GET', os.environ.get('SCRIPT_NAME', '') + '/health/live'); sys.exit(c.getresponse().status != 200)"]
CMD ["gunicorn", "-c", "python:config.gunicorn", "wsgi:app"]
