#!/bin/bash
# Provides the image of a node and prints the image's name as the only line of the standard output.
# If several versions are given, it prints one line for each version.
#
#   image.sh [--zookeeper VERSION]...     the default version is 3.9.6
#
# It tries these in turn:
#
#   1. If no version is given, the image named in ZKCOORD_IMAGE. It is pulled if necessary.
#   2. The image that an earlier run built from the same files.
#   3. An image built on the official image zookeeper:VERSION, which is pulled if necessary.
#   4. An image built from Debian's packages. mmdebstrap builds the system once for all versions. If
#      mmdebstrap is missing, it is installed, if that is possible (root, apt-get). unpack.sh
#      provides the jars of the version.
#
# If all fail, the error says what to install. The image also gets the tag zkcoord/zookeeper:VERSION
# for docker-compose.yml, and the default version zkcoord/zookeeper:latest. One run builds several
# versions concurrently. If two runs build the same image, the second run waits for the first.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
source ./lib.bash

standard=3.9.6
debian=bookworm
packages=openjdk-17-jre-headless,iptables,iproute2,libfaketime
system=zkcoord/system:$debian-$(cksum <<< "$packages" | cut -d " " -f 1)

there() { docker image inspect "$1" > /dev/null 2>&1; }

# pull waits ten seconds for the first answer of the registry, and then as long as the pull takes.
# If no answer comes, it fails.
pull() {
  local out status=0
  out=$(mktemp "$temporary/XXXXXX")
  docker pull "$1" > "$out" 2>&1 &
  local job=$!
  for _ in {1..100}; do
    if grep -q 'Pulling from' "$out" || ! kill -0 "$job" 2> /dev/null; then break; fi
    sleep 0.1
  done
  grep -q 'Pulling from' "$out" || kill "$job" 2> /dev/null || true
  wait "$job" || status=1
  [[ $status == 0 ]] || say "docker pull $1: $(tail -n 1 "$out")"
  return "$status"
}

from_official() {
  local official=zookeeper:$version
  there "$official" || pull "$official" || return 1
  say "building $image on $official"
  docker build --build-arg "BASE=$official" --label "zkcoord.image=$official" --tag "$image" . >&2
}

# with_mmdebstrap succeeds if mmdebstrap is installed. It installs mmdebstrap if it can.
with_mmdebstrap() {
  command -v mmdebstrap > /dev/null && return
  command -v apt-get > /dev/null && [[ $(id -u) == 0 ]] || return 1
  say "installing mmdebstrap"
  export DEBIAN_FRONTEND=noninteractive
  local install=(apt-get install -qq -y --no-install-recommends -o DPkg::Lock::Timeout=120 mmdebstrap debian-archive-keyring)
  "${install[@]}" > /dev/null 2>&1 || { apt-get update -qq >&2 && "${install[@]}" > /dev/null 2>&1; }
}

# make_system builds the image that the nodes of all versions share.
make_system() {
  local proxy id log options=()
  alone system
  ! there "$system" || return 0
  with_mmdebstrap || return 1
  log=$(mktemp "$temporary/XXXXXX")
  proxy=$(apt-config dump 2> /dev/null | grep -E '^Acquire::https?::Proxy ' || true)
  while read -r line; do [[ -z $line ]] || options+=("--aptopt=$line"); done <<< "$proxy"
  say "building the system of a node from Debian's packages, which takes about a minute"
  # Import the image without a name. If mmdebstrap fails midway, the partial image must not get our
  # name.
  if ! id=$(mmdebstrap --variant=minbase --include="$packages" "${options[@]}" \
      --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
      "$debian" - "deb $(mirror) $debian main" 2> "$log" | docker import -); then
    tail -n 20 "$log" >&2
    [[ -z ${id:-} ]] || docker rmi "$id" > /dev/null 2>&1 || true
    return 1
  fi
  docker tag "$id" "$system"
}

from_debian() {
  grep -q "^zookeeper-$version " packages || { say "Debian's packages have no ZooKeeper $version"; return 1; }
  local jars context
  (make_system) || return 1
  jars=$(./unpack.sh "zookeeper-$version") || return 1
  context=$(mktemp -d "$temporary/XXXXXX")
  cat > "$context/Dockerfile" << EOF
FROM $system
COPY usr/share/java /usr/share/java
COPY entrypoint.sh zk-ready /usr/local/bin/
ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
HEALTHCHECK --interval=2s --timeout=2s --start-period=60s --retries=3 CMD ["zk-ready"]
VOLUME ["/data", "/datalog"]
EXPOSE 2181 2888 3888
LABEL zkcoord.image=debian-$version
ENTRYPOINT ["/usr/local/bin/entrypoint.sh"]
EOF
  local status=0
  tar -c -C "$jars" usr/share/java -C "$context" Dockerfile -C "$PWD" entrypoint.sh zk-ready |
    docker build --quiet --tag "$image" - > "$context/log" 2>&1 || status=1
  [[ $status == 0 ]] || cat "$context/log" >&2
  return "$status"
}

# node builds the image of one version, if it does not exist, and prints its name.
node() {
  local version=$1 image
  # The name contains a checksum of the files, so the image of an older checkout is never mistaken
  # for this one.
  image=zkcoord/zookeeper:$version-$(cat Dockerfile entrypoint.sh zk-ready image.sh unpack.sh lib.bash packages | sha256sum | cut -c 1-12)
  if ! there "$image"; then
    alone "image-$version"
    there "$image" || from_official || from_debian || die "cannot build the image of a node of ZooKeeper $version. Any of these" \
      "helps: access to a registry that has zookeeper:$version; mmdebstrap and access to a Debian mirror (run as root on" \
      "Debian, mmdebstrap is installed automatically), which has$(sed -n 's/^zookeeper-\([^ ]*\).*/ \1/p' packages | tr -d '\n'); or" \
      "ZKCOORD_IMAGE set to an image built elsewhere from docker/zookeeper."
  fi
  docker tag "$image" "zkcoord/zookeeper:$version"
  [[ $version != "$standard" ]] || docker tag "$image" zkcoord/zookeeper:latest
  echo "$image"
}

versions=()
while [[ $# -gt 0 ]]; do
  case $1 in
    --zookeeper) [[ -n ${2:-} ]] || die "--zookeeper needs a version"; versions+=("$2"); shift 2 ;;
    --zookeeper=*) versions+=("${1#*=}"); shift ;;
    *) die "usage: image.sh [--zookeeper VERSION]..." ;;
  esac
done

command -v docker > /dev/null || die "there is no docker command. Install Docker Engine (on Debian: apt-get install docker.io)."
docker version --format '{{.Server.Version}}' > /dev/null 2>&1 ||
  die "no Docker engine answers: $(docker version 2>&1 > /dev/null | tail -n 1)"

temporary=$(mktemp -d)
trap 'rm -rf "$temporary"' EXIT

if [[ -n ${ZKCOORD_IMAGE:-} && ${#versions[@]} == 0 ]]; then
  there "$ZKCOORD_IMAGE" || pull "$ZKCOORD_IMAGE" ||
    die "the image $ZKCOORD_IMAGE, which ZKCOORD_IMAGE names, does not exist here and cannot be pulled."
  echo "$ZKCOORD_IMAGE"
  exit
fi

jobs=()
for version in "${versions[@]:-$standard}"; do
  [[ $version =~ ^[a-zA-Z0-9][a-zA-Z0-9._-]*$ ]] || die "\"$version\" is not a valid version"
  node "$version" &
  jobs+=($!)
done
status=0
for job in "${jobs[@]}"; do wait "$job" || status=1; done
exit "$status"
