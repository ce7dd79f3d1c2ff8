# One image a service: `--target aggregator`, `bank_client` or `reporter`. Dependencies come first and depend on
# pyproject.toml and constraints.txt alone, so that a change of the code rebuilds in seconds.

FROM python:3.11-slim-bookworm AS base
# numpy multiplies on one thread: those of many containers on a few cores would spin while they wait for one another.
ENV PATH=/opt/venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 OPENBLAS_NUM_THREADS=1
# python's own image leaves its standard library uncompiled: every process would compile what it imports, for .4 s of a core.
RUN python -m compileall -q -x '/(test|tests|idlelib|lib2to3|turtledemo|ensurepip|tkinter|(site|dist)-packages)/' \
    "$(python -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')"
RUN groupadd --gid 10001 fedfraud && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp fedfraud
WORKDIR /app

# What every service needs.
FROM base AS dependencies
# The base's pip installs into the environment: no image needs a pip in it.
ENV PIP_PYTHON=/opt/venv/bin/python PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
RUN python -m venv --without-pip /opt/venv
COPY pyproject.toml constraints.txt ./
RUN pip install -c constraints.txt '.[aggregator]' && find /opt/venv -depth -type d -name tests -exec rm -r {} +

FROM dependencies AS reporter-dependencies
RUN pip install -c constraints.txt '.[reporter]' && find /opt/venv -depth -type d -name tests -exec rm -r {} + \
    && rm -r /opt/venv/lib/python3*/site-packages/onnx/backend/test

# torch comes first and alone: from PyTorch's CPU index, without CUDA. An index out of reach costs a warning. What is removed is
# for compiling against a library, for testing it, or Arrow's part for Flight or S3, which no bank asks for; what is left is tried.
FROM dependencies AS bank-dependencies
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN pip install --no-deps --retries 0 ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} -c constraints.txt torch \
    && pip install -c constraints.txt '.[bank]' \
    && cd /opt/venv/lib/python3*/site-packages \
    && rm -rf torch/include torch/test torch/share torch/lib/*.a pyarrow/include pyarrow/src \
        pyarrow/*flight* pyarrow/*s3* pyarrow/_pyarrow_cpp_tests* pyarrow/__pycache__/*flight* \
    && find . -depth -type d -name tests -exec rm -r {} + \
    && find torch/bin -mindepth 1 ! -name torch_shm_manager -delete \
    && python -c 'import pyarrow.csv, pyarrow.parquet, torch'

# The code with its stubs and its bytecode.
FROM dependencies AS code
RUN pip install -c constraints.txt '.[proto]'
COPY proto proto
RUN python -m grpc_tools.protoc -Iproto --python_out=. --grpc_python_out=. proto/fedfraud/v1/*.proto
COPY fedfraud fedfraud
COPY simulation simulation
COPY services services
RUN python -m compileall -q --invalidation-mode unchecked-hash fedfraud simulation services
# Which commit this is, for reports to name. The pattern matches nothing where there is no git, and the build goes on.
COPY pyproject.toml .gi[t] .git/
RUN python -c 'from fedfraud.build import build; print(build().commit)' > fedfraud/COMMIT

# The folders are made here, so that a fresh volume on one of them belongs to the service.
FROM base AS aggregator
RUN install -d -o 10001 -g 10001 /data /holdout /join /join/bank /join/reporter /join/operator
COPY --from=dependencies /opt/venv /opt/venv
COPY --from=code /app/fedfraud fedfraud
COPY --from=code /app/services/__init__.py services/
COPY --from=code /app/services/aggregator services/aggregator
USER 10001:10001
CMD ["python", "-m", "services.aggregator", "serve"]

FROM base AS reporter
RUN install -d -o 10001 -g 10001 /join /reports
COPY --from=reporter-dependencies /opt/venv /opt/venv
COPY --from=code /app/fedfraud fedfraud
COPY --from=code /app/services/__init__.py services/
COPY --from=code /app/services/reporter services/reporter
USER 10001:10001
CMD ["python", "-m", "services.reporter", "serve"]

FROM base AS bank_client
ENV OMP_NUM_THREADS=1 ARROW_DEFAULT_MEMORY_POOL=system
RUN install -d -o 10001 -g 10001 /data /holdout /join
COPY --from=bank-dependencies /opt/venv /opt/venv
COPY --from=code /app/fedfraud fedfraud
COPY --from=code /app/simulation simulation
COPY --from=code /app/services/__init__.py services/
COPY --from=code /app/services/bank_client services/bank_client
USER 10001:10001
CMD ["python", "-m", "services.bank_client", "serve"]
