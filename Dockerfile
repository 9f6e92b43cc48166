# One image for the API and the worker, for amd64 and arm64: whatever is compiled in a dependency comes as a wheel for both.
#   docker build -t smarthouse-api .
#   docker build -t smarthouse-api --build-arg EXTRAS=spark .     with the client of a Spark Connect endpoint
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
# The stores must be named: what is written inside of a container goes with it. It needs to write to /tmp and /dev/shm alone.
ENV PATH=/opt/smarthouse/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    SMARTHOUSE_ENV=production \
    HOST=0.0.0.0 \
    PORT=8000
WORKDIR /opt/smarthouse
USER 10001:10001
EXPOSE 8000
# Of the API. Whoever runs `smarthouse worker` gives another, as compose.yaml does: it listens to nothing.
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s \
    CMD ["python", "-c", "import http.client, os, sys; c = http.client.HTTPConnection('127.0.0.1', int(os.environ['PORT']), timeout=4); c.request('GET', os.environ.get('SCRIPT_NAME', '') + '/health/live'); sys.exit(c.getresponse().status != 200)"]
CMD ["gunicorn", "-c", "python:config.gunicorn", "wsgi:app"]
