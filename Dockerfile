# syntax=docker/dockerfile:1
# A collector as a container: `docker compose up --detach`. docs/guides/containers.md says more.
FROM python:3.13-slim AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY collector collector
RUN python -m venv /opt/collector && /opt/collector/bin/pip install --no-cache-dir --disable-pip-version-check '.[postgres]'

FROM python:3.13-slim
RUN useradd --system --uid 10001 --user-group --no-create-home collector \
    && install -d -o collector -g collector /srv/collector /srv/collector/data /srv/collector/logs
COPY --from=build /opt/collector /opt/collector
WORKDIR /srv/collector
USER 10001:10001
ENV PATH=/opt/collector/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    COLLECTOR_LISTEN=0.0.0.0:8787 \
    COLLECTOR_LISTEN_NAMES=collector
VOLUME ["/srv/collector/data", "/srv/collector/logs"]
EXPOSE 8787
STOPSIGNAL SIGTERM
# Unhealthy means degraded, and is for an alarm: a restart mends neither a ban nor a full disk.
HEALTHCHECK --interval=30s --timeout=10s --start-period=2m --retries=3 \
    CMD ["python", "-I", "-c", "from http.client import HTTPConnection as C; c = C('127.0.0.1', 8787, timeout=8); c.request('GET', '/healthz'); raise SystemExit(c.getresponse().status != 200)"]
ENTRYPOINT ["collector"]
CMD ["run"]
