#!/bin/bash
# Unpacks Debian's packages into the cache of this user, without root, and prints the directory as
# the only line of the standard output. If an earlier run unpacked them, it only prints the
# directory.
#
#   unpack.sh NAME [CACHE]     NAME is a name in the file packages, such as zookeeper-3.9.6
#
# apt verifies the signature of the suite with Debian's own keyring, and each package against the
# suite. It uses separate package lists, so the machine's sources do not change.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=lib.bash
source "$here/lib.bash"

name=${1:-}
entry=$(awk -v name="$name" '$1 == name && !/^#/' "$here/packages")
[[ -n $entry ]] ||
  die "unknown name \"$name\"; want one of:$(grep -v '^#' "$here/packages" | cut -d ' ' -f 1 | tr '\n' ' ' | sed 's/^/ /')"
read -r -a words <<< "$entry"
IFS=, read -r -a suites <<< "${words[1]}"
packages=("${words[@]:2}")

cache=${2:-${XDG_CACHE_HOME:-${HOME:?is not set, so there is no cache directory}/.cache}/zkcoord}
# The name contains a checksum of the entry, so the directory of an older checkout is never mistaken
# for this one.
dir=$cache/$name-$(cksum <<< "$entry" | cut -d ' ' -f 1)
[[ -d $dir ]] && { echo "$dir"; exit; }

for command in apt-get dpkg-deb; do
  command -v $command > /dev/null || die "$name comes from Debian's packages, and this machine has no $command"
done
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
[[ -e $keyring ]] || die "$keyring, which verifies packages, does not exist: install debian-archive-keyring"

# The function "from" unpacks the packages from one suite. The output of apt goes to the file log.
from() {
  local suite=$1 lists=$cache/apt/$1
  mkdir -p "$lists/state/lists/partial" "$lists/cache/archives/partial"
  : > "$lists/state/status"
  echo "deb [signed-by=$keyring] $(mirror) $suite main" > "$lists/sources.list"
  local apt=(apt-get -q -o "Dir::Etc::SourceList=$lists/sources.list" -o Dir::Etc::SourceParts=/dev/null
    -o "Dir::State=$lists/state" -o "Dir::State::status=$lists/state/status" -o "Dir::Cache=$lists/cache"
    -o Acquire::Retries=1 -o Acquire::Languages=none -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false -o APT::Sandbox::User=
    -o Acquire::AllowInsecureRepositories=false -o APT::Get::AllowUnauthenticated=false -o Acquire::Check-Valid-Until=true)
  # Debian does not renew the release file of sid in time, so its age is not checked.
  [[ $suite != sid ]] || apt+=(-o Acquire::Check-Valid-Until=false)
  (
    alone "apt-$suite"
    "${apt[@]}" update --error-on=any
  ) >> "$log" 2>&1 || return 1
  (cd "$work/debs" && "${apt[@]}" download "${packages[@]}") >> "$log" 2>&1 || return 1
  for deb in "$work"/debs/*.deb; do dpkg-deb -x "$deb" "$work/root"; done
}

mkdir -p "$cache"
alone "unpack-$name"
[[ -d $dir ]] && { echo "$dir"; exit; }
work=$(mktemp -d "$cache/unpacking-XXXXXX")
trap 'rm -rf "$work"' EXIT
log=$work/log
mkdir "$work/debs" "$work/root"
chmod 755 "$work/root"
say "unpacking $name from Debian's packages"
for suite in "${suites[@]}"; do
  if from "$suite"; then
    mv "$work/root" "$dir"
    echo "$dir"
    exit
  fi
  grep -E '^[EW]:' "$log" >&2 || true
done
die "cannot get $name from Debian's ${suites[*]} at $(mirror). Without a network, only names that were unpacked earlier are available: $(
  grep -E '^(E|W|Err)' "$log" | tail -n 1)"
