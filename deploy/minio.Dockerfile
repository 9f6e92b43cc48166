# Builds MinIO from source, as its authors describe. They no longer publish images or binaries, nor maintain the source.
# The version is the last state of the source. Go checks it against the public checksum database. The build takes minutes.
ARG GO=1.26
ARG ALPINE=3.22

FROM golang:${GO}-alpine AS build
ARG MINIO_VERSION=v0.0.0-20260212201848-7aac2a2c5b7c
ENV CGO_ENABLED=0
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    go install -trimpath -ldflags="-s -w" "github.com/minio/minio@${MINIO_VERSION}"

FROM alpine:${ALPINE}
# Only the console in compose.yaml uses socat.
RUN apk add --no-cache ca-certificates socat && \
    addgroup -g 10002 minio && adduser -D -H -u 10002 -G minio -h /tmp minio && \
    install -d -o minio -g minio -m 700 /data
COPY --from=build /go/bin/minio /usr/local/bin/minio
ENV MINIO_UPDATE=off
USER 10002:10002
EXPOSE 9000 9001
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s \
    CMD ["wget", "-q", "-O", "/dev/null", "http://127.0.0.1:9000/minio/health/live"]
ENTRYPOINT ["minio"]
CMD ["server", "/data", "--console-address", ":9001"]
