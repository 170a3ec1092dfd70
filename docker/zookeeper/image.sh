#!/bin/bash
# Gets the image of a node and prints its name, the last and only line of the standard output:
#   1. the image that ZKCOORD_IMAGE names, pulled if it is not there;
#   2. the image that an earlier run made of just these files;
#   3. one built on the official zookeeper:3.9, if that is there or can be pulled;
#   4. one made of Debian's packages with mmdebstrap, which is installed first where that is possible (root, apt-get);
#   5. else an error that says what to install.
# It is also tagged zkcoord/zookeeper:latest for docker-compose.yml. Runs at the same time wait for each other.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

base=zookeeper:3.9
debian=bookworm
packages=zookeeper,openjdk-17-jre-headless,iptables,iproute2,libfaketime

say() { echo "image.sh: $*" >&2; }
die() { say "$@"; exit 1; }
there() { docker image inspect "$1" > /dev/null 2>&1; }

# pull gives a registry ten seconds to say anything, and then all the time that the image takes.
pull() {
  local out status=0
  out=$(mktemp)
  docker pull "$1" > "$out" 2>&1 &
  local job=$!
  for _ in {1..100}; do
    if grep -q 'Pulling from' "$out" || ! kill -0 "$job" 2> /dev/null; then break; fi
    sleep 0.1
  done
  grep -q 'Pulling from' "$out" || kill "$job" 2> /dev/null || true
  wait "$job" || status=1
  [[ $status == 0 ]] || say "docker pull $1: $(tail -n 1 "$out")"
  rm -f "$out"
  return "$status"
}

from_official() {
  there "$base" || pull "$base" || return 1
  say "building $image on $base"
  # --chmod in the Dockerfile is BuildKit's; an engine of 20.10 has it, but does not use it by itself.
  DOCKER_BUILDKIT=1 docker build --label "zkcoord.image=$base" --tag "$image" . >&2
}

# with_mmdebstrap succeeds if there is an mmdebstrap, installing it if it may.
with_mmdebstrap() {
  command -v mmdebstrap > /dev/null && return
  command -v apt-get > /dev/null && [[ $(id -u) == 0 ]] || return 1
  say "installing mmdebstrap"
  export DEBIAN_FRONTEND=noninteractive
  local install=(apt-get install -qq -y --no-install-recommends -o DPkg::Lock::Timeout=120 mmdebstrap debian-archive-keyring)
  "${install[@]}" >&2 2> /dev/null || { apt-get update -qq >&2 && "${install[@]}" >&2; }
}

# mirror prints the Debian mirror that this machine uses already, which may be the only one that it reaches.
mirror() {
  local found=
  ! command -v apt-get > /dev/null || found=$(apt-get indextargets --format '$(REPO_URI)' \
    'Created-By: Packages' 'Origin: Debian' 'Label: Debian' 2> /dev/null | head -n 1 || true)
  echo "${found:-http://deb.debian.org/debian}"
}

from_debian() {
  with_mmdebstrap || return 1
  local proxy id log options=()
  log=$(mktemp)
  proxy=$(apt-config dump 2> /dev/null | grep -E '^Acquire::https?::Proxy ' || true)
  while read -r line; do [[ -z $line ]] || options+=("--aptopt=$line"); done <<< "$proxy"
  say "making $image of Debian's packages: about a minute"
  # Imported without a name: if mmdebstrap fails half-way, what came out of it is no image of ours.
  if ! id=$(mmdebstrap --variant=minbase --include="$packages" "${options[@]}" \
      --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
      --customize-hook='upload entrypoint.sh /usr/local/bin/entrypoint.sh' \
      --customize-hook='upload zk-ready /usr/local/bin/zk-ready' \
      --customize-hook='chroot "$1" chmod 755 /usr/local/bin/entrypoint.sh /usr/local/bin/zk-ready' \
      "$debian" - "deb $(mirror) $debian main" 2> "$log" \
    | docker import \
      --change 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/share/zookeeper/bin' \
      --change 'HEALTHCHECK --interval=2s --timeout=2s --start-period=60s --retries=3 CMD ["zk-ready"]' \
      --change 'VOLUME ["/data", "/datalog"]' --change 'EXPOSE 2181 2888 3888' \
      --change "LABEL zkcoord.image=debian-$debian" \
      --change 'ENTRYPOINT ["/usr/local/bin/entrypoint.sh"]' -); then
    tail -n 20 "$log" >&2
    rm -f "$log"
    [[ -z ${id:-} ]] || docker rmi "$id" > /dev/null 2>&1 || true
    return 1
  fi
  rm -f "$log"
  docker tag "$id" "$image"
}

command -v docker > /dev/null || die "there is no docker command. Install Docker Engine (on Debian: apt-get install docker.io)."
docker version --format '{{.Server.Version}}' > /dev/null 2>&1 ||
  die "no Docker engine answers: $(docker version 2>&1 > /dev/null | tail -n 1)"

if [[ -n ${ZKCOORD_IMAGE:-} ]]; then
  there "$ZKCOORD_IMAGE" || pull "$ZKCOORD_IMAGE" ||
    die "the image $ZKCOORD_IMAGE, which ZKCOORD_IMAGE names, is neither here nor can it be pulled."
  echo "$ZKCOORD_IMAGE"
  exit
fi

# The name says which files it was made of, so an image of an older checkout is never taken for this one.
image=zkcoord/zookeeper:$(cat Dockerfile entrypoint.sh zk-ready image.sh | sha256sum | cut -c 1-12)
if ! there "$image"; then
  if command -v flock > /dev/null; then
    exec 9> "${XDG_RUNTIME_DIR:-/tmp}/zkcoord-image-$(id -u).lock"
    flock 9
  fi
  there "$image" || from_official || from_debian || die "cannot make the image of a node. One of these helps:" \
    "access to a registry that has $base; the package mmdebstrap and access to a Debian mirror (run as root on Debian, this is" \
    "installed by itself); or ZKCOORD_IMAGE set to an image built elsewhere from docker/zookeeper."
fi
docker tag "$image" zkcoord/zookeeper:latest
echo "$image"
