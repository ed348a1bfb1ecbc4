# geodecloud on the CPU:
#   docker build -t geodecloud .
#   docker run --rm -u "$(id -u)" -v "$PWD:/data" geodecloud in.tif out.tif

FROM python:3.13-slim AS build
WORKDIR /source
COPY . .
RUN pip install --no-cache-dir build
RUN python -m build --outdir /dist .

FROM python:3.13-slim
# The wheel of rasterio takes libexpat from the system.
RUN apt-get update && apt-get install -y --no-install-recommends libexpat1 && rm -rf /var/lib/apt/lists/*
# A torch without CUDA is some gigabytes smaller.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN pip install --no-cache-dir --index-url "$TORCH_INDEX" "torch>=2.6,<2.14"
COPY --from=build /dist/*.whl /tmp/
RUN pip install --no-cache-dir /tmp/*.whl
RUN useradd --uid 1000 user
USER user
# A user that -u names has no home of its own.
ENV HOME=/tmp
WORKDIR /data
ENTRYPOINT ["geodecloud"]
