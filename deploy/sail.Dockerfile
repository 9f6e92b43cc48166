# Sail, a query engine that speaks Spark Connect. It is a wheel for amd64 and arm64, and needs no Java.
ARG PYTHON=3.12-slim-bookworm
FROM python:${PYTHON}
ARG SAIL_VERSION=0.7.2
RUN python -m venv /opt/sail && \
    /opt/sail/bin/pip --disable-pip-version-check --no-cache-dir install "pysail==${SAIL_VERSION}" && \
    useradd --uid 10003 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin sail
ENV AWS_EC2_METADATA_DISABLED=true
USER 10003
EXPOSE 50051
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s \
    CMD ["python", "-c", "import socket; socket.create_connection(('127.0.0.1', 50051), 4).close()"]
CMD ["/opt/sail/bin/sail", "spark", "server", "--ip", "0.0.0.0", "--port", "50051"]
