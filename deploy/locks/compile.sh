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
extras=(--extra all --extra torchrec --extra kafka --extra tracing --extra ray --extra dev)
# On a CPU the name fbgemm-gpu is taken by deploy/fbgemm-gpu-cpu, which no index holds.
echo "fbgemm-gpu; python_version < '3'" >"$work/override.txt"
sed 's/"fbgemm-gpu==/"fbgemm-gpu-cpu==/' pyproject.toml >"$work/pyproject.toml"
compile "${extras[@]}" --override "$work/override.txt" "$work/pyproject.toml" -o deploy/locks/cpu.txt
compile "${extras[@]}" pyproject.toml -o deploy/locks/gpu.txt
# The image of servers: no PyTorch, and else what the tests ran with.
compile --extra serving --extra kafka --extra tracing pyproject.toml -c deploy/locks/cpu.txt -o deploy/locks/serving.txt
printf 'setuptools\nuv\n' >"$work/tools.in"
compile "$work/tools.in" -o deploy/locks/tools.txt
# What `make sbom` runs, in an environment of its own.
echo cyclonedx-bom >"$work/sbom.in"
compile "$work/sbom.in" -o deploy/locks/sbom.txt
# What `make audit` runs, in another.
echo pip-audit >"$work/audit.in"
compile "$work/audit.in" -o deploy/locks/audit.txt
# What `make docs` runs, in a third.
printf 'mkdocs-material\nmkdocstrings[python]\n' >"$work/docs.in"
compile "$work/docs.in" -o deploy/locks/docs.txt
