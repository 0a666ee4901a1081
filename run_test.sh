#!/usr/bin/env bash
# Build the image, run it, classify pictures with one request, print the answer, stop.
#
#   ./run_test.sh cat1.jpg dog1.jpg ...
#
# PORT (5000), IMAGE (densenet-serve-test) and DOCKER_RUN_ARGS (such as "--gpus all") may be set.
set -euo pipefail
port=${PORT:-5000} image=${IMAGE:-densenet-serve-test}
url=http://localhost:$port

if (($# == 0)); then
  sed -n '2,6s/^# \{0,1\}//p' "$0" >&2
  exit 2
fi
forms=()
for picture; do
  [[ -f $picture ]] || { echo "run_test: there is no file $picture" >&2; exit 2; }
  forms+=(--form "file=@$picture")
done

docker build --tag "$image" "$(dirname "$0")"
# shellcheck disable=SC2086 # several arguments in one variable
container=$(docker create --publish "$port:5000" ${DOCKER_RUN_ARGS:-} "$image")
trap 'docker stop --time 60 "$container" >/dev/null; docker rm --force "$container" >/dev/null' EXIT
docker start "$container" >/dev/null

echo "Waiting until it is ready ..."
until curl --silent --fail --output /dev/null "$url/readyz"; do
  if [[ $(docker inspect --format '{{.State.Running}}' "$container") != true ]]; then
    docker logs "$container" >&2
    echo "run_test: the container has ended" >&2
    exit 1
  fi
  sleep 1
done

curl --silent --show-error --fail-with-body "${forms[@]}" "$url/predict"
echo
