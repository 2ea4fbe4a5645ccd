# One image: the gateway with its local model's engine. `docker build -t interlock .`, then
# `docker run -p 8080:8080 -v interlock:/data interlock`. The model is fetched on the first start, into the volume.

FROM python:3.11-slim AS build
WORKDIR /source
COPY pyproject.toml constraints.txt README.md LICENSE NOTICE ./
COPY src src
RUN python -m venv /opt/interlock \
    && /opt/interlock/bin/pip install --no-cache-dir -c constraints.txt '.[local,azure,bedrock,google]'

FROM python:3.11-slim
COPY --from=build /opt/interlock /opt/interlock
RUN useradd --system --uid 10001 --home-dir /data interlock && install -d -o interlock /data
ENV PATH=/opt/interlock/bin:$PATH PYTHONUNBUFFERED=1
USER interlock
WORKDIR /data
VOLUME /data
# data and api; the control port stays on the container's loopback: `docker exec CONTAINER interlock usage --data /data`
EXPOSE 8080 8081
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/readyz', timeout=2)"]
CMD ["sh", "-c", "interlock local fetch --data /data && exec interlock serve --data /data --host 0.0.0.0"]
