#!/usr/bin/env bash
# Writes what the chart makes of each tests/deploy/rendered/NAME.values.yaml to NAME.yaml beside it, which tests check
# without Helm. Needs `helm` on the PATH.
set -euo pipefail
cd "$(dirname "$0")/../.."
for values in tests/deploy/rendered/*.values.yaml; do
  helm lint --quiet --strict --kube-version 1.34 deploy/helm/recsys --values "$values"
  helm template recsys deploy/helm/recsys --kube-version 1.34 --values "$values" >"${values%.values.yaml}.yaml"
done
find deploy/helm/recsys tests/deploy/rendered -type f ! -name sha256 | LC_ALL=C sort | xargs sha256sum >tests/deploy/rendered/sha256
