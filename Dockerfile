# syntax=docker/dockerfile:1

# An image that answers and does not train: the slim install of tellapart, without Keras and TensorFlow.
#
#   docker build -t tellapart .
#   docker run --rm -p 127.0.0.1:8000:8000 -v "$PWD/models:/models:ro" tellapart /models/cats-dogs.tellapart
#
# It writes nothing: `--read-only --cap-drop ALL --security-opt no-new-privileges` may be added as they are. With
# `--build-arg INSTALL=fast` it has OpenVINO too, 180 MB more: up to twice the pictures a second where the processor knows
# bfloat16. Each version is that of a lock, each file is held to its hash.

FROM python:3.13-slim-trixie AS build
ARG INSTALL=slim
WORKDIR /build
COPY pyproject.toml README.md LICENSE ./
COPY requirements ./requirements
COPY src ./src
# The environment gets no pip of its own: nothing is installed into it later. Bytecode is compiled here, because the
# image's files are read-only to whoever runs it, and every start would compile anew.
RUN python -m venv --without-pip /opt/tellapart \
 && export PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore \
 && pip install --require-hashes --no-deps --only-binary :all: -r requirements/build.txt \
 && pip wheel --no-deps --no-build-isolation --wheel-dir /wheel . \
 && pip --python /opt/tellapart/bin/python install --require-hashes --no-deps --only-binary :all: --compile \
    -r "requirements/${INSTALL}.txt" \
 && pip --python /opt/tellapart/bin/python install --no-deps --no-index --compile /wheel/*.whl \
 && /opt/tellapart/bin/tellapart --version

FROM python:3.13-slim-trixie
COPY --from=build /opt/tellapart /opt/tellapart
ENV PATH=/opt/tellapart/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
WORKDIR /models
# A number, not a name, so that an orchestrator can see that it is not root; there is no home folder and no shell to it.
USER 10001:10001
EXPOSE 8000
# Whether it lives, which load never changes. Whether it is ready is /readyz, for whoever sends it requests.
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/livez', timeout=2).read()"]
# The exec form: tellapart is process 1 and gets SIGTERM itself, on which it answers what it has accepted, then ends.
STOPSIGNAL SIGTERM
ENTRYPOINT ["tellapart", "serve", "--host", "0.0.0.0", "--port", "8000"]
CMD ["model.tellapart"]
