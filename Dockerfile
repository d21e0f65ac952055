# The image that the QUIC interop runner starts in either role. Build it with
#   docker build -t interquic-interop .
# The base is Ubuntu 24.04 with the simulator's setup.sh and wait-for-it.sh; it has no Python.
FROM martenseemann/quic-network-simulator-endpoint:latest AS build
RUN apt-get update && apt-get install -y --no-install-recommends python3 python3-venv
COPY . /src
# The venv keeps no installer: nothing is installed at run time.
RUN python3 -m venv /opt/interquic \
    && /opt/interquic/bin/pip install --no-cache-dir /src \
    && /opt/interquic/bin/pip uninstall --yes pip

FROM martenseemann/quic-network-simulator-endpoint:latest
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3 \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /opt/interquic /opt/interquic
COPY run_endpoint.sh /run_endpoint.sh
ENTRYPOINT ["/run_endpoint.sh"]
