# Functions that the scripts of this directory share.
say() { echo "${0##*/}: $*" >&2; }
die() { say "$@"; exit 1; }

# mirror prints the Debian mirror that this machine already uses, because the machine may reach no
# other one.
mirror() {
  local found=
  ! command -v apt-get > /dev/null || found=$(apt-get indextargets --format '$(REPO_URI)' \
    'Created-By: Packages' 'Origin: Debian' 'Label: Debian' 2> /dev/null | head -n 1 || true)
  echo "${found:-http://deb.debian.org/debian}"
}

# alone NAME acquires the lock with that name, for which all runs of these scripts contend, and
# holds it until this shell ends. Without the command flock, it does nothing.
alone() {
  command -v flock > /dev/null || return 0
  exec {lock}> "${XDG_RUNTIME_DIR:-/tmp}/zkcoord-$1-$(id -u).lock"
  flock "$lock"
}
