#!/usr/bin/env bash
# run_test.sh without a container: serve from this checkout, classify pictures with one request,
# print the answer, stop.
#
#   ./local_debug.sh cat1.jpg dog1.jpg ...
#
# The service's own output goes to the terminal. PORT (5000) and CONFIG (serve_config.yaml) may
# be set.
set -euo pipefail
port=${PORT:-5000}
url=http://localhost:$port

if (($# == 0)); then
  sed -n '2,8s/^# \{0,1\}//p' "$0" >&2
  exit 2
fi
forms=()
for picture; do
  [[ -f $picture ]] || { echo "local_debug: there is no file $picture" >&2; exit 2; }
  forms+=(--form "file=@$picture")
done

make --directory "$(dirname "$0")" serve PORT="$port" >&2 &
service=$!
trap 'kill -TERM "$service" 2>/dev/null || true; wait "$service" || true' EXIT

until curl --silent --fail --output /dev/null "$url/readyz"; do
  kill -0 "$service" 2>/dev/null || { echo "local_debug: the service has ended" >&2; exit 1; }
  sleep 1
done

curl --silent --show-error --fail-with-body "${forms[@]}" "$url/predict"
echo
