#!/usr/bin/env bash
# Writes the locks: names, versions, hashes; no addresses. One for machines with an NVIDIA driver, one for all others.
set -euo pipefail
cd "$(dirname "$0")/../.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
compile() {
  uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate \
    --custom-compile-command "make lock" "$@"
}
stack="torch==2.13.0 torchrec==1.8.0"
tr ' ' '\n' <<<"$stack fbgemm-gpu-cpu==1.8.0" >"$work/cpu.in"
tr ' ' '\n' <<<"$stack fbgemm-gpu==1.8.0" >"$work/gpu.in"
# On a CPU the name fbgemm-gpu is taken by deploy/fbgemm-gpu-cpu, which no index holds.
echo "fbgemm-gpu; python_version < '3'" >"$work/override.txt"
sed 's/"fbgemm-gpu[^"]*", //' pyproject.toml >"$work/pyproject.toml"
compile --all-extras --override "$work/override.txt" "$work/pyproject.toml" "$work/cpu.in" -o deploy/locks/cpu.txt
compile --all-extras pyproject.toml "$work/gpu.in" -o deploy/locks/gpu.txt
printf 'setuptools\nuv\n' >"$work/tools.in"
compile "$work/tools.in" -o deploy/locks/tools.txt
