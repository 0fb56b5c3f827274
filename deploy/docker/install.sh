#!/usr/bin/env bash
# install.sh serving|training FOLDER [cpu|gpu]: a virtual environment in FOLDER with what that image needs, from the
# hash-pinned locks, and the embedding kernels compiled. The steps of the Dockerfile, which also run without a container.
set -euo pipefail
target=$1 folder=$2 flavour=${3:-cpu}
cd "$(dirname "$0")/../.."
python3 -m venv "$folder"
"$folder/bin/python" -m pip install --quiet --no-cache-dir --disable-pip-version-check --require-hashes \
  -r deploy/locks/tools.txt
install() { "$folder/bin/uv" pip install --quiet --no-cache --python "$folder/bin/python" --no-deps "$@"; }
case $target in
serving)
  install --compile-bytecode --require-hashes -r deploy/locks/serving.txt
  ;;
training)
  install --compile-bytecode --require-hashes -r "deploy/locks/$flavour.txt"
  if [ "$flavour" = cpu ]; then install --no-build-isolation ./deploy/fbgemm-gpu-cpu; fi
  ;;
*)
  echo "install.sh: '$target' is neither serving nor training" >&2
  exit 2
  ;;
esac
install --no-build-isolation .
"$folder/bin/python" -m embedding.local.warm
"$folder/bin/python" -m streaming.warm
"$folder/bin/python" -m serving.warm
