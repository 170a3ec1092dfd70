#!/bin/sh
# A lock with the command zkcoord, as a client of zkcoord: needs no more than a shell.
# A holder is a "zkcoord lock" whose command says that it holds the lock and waits for
# its standard input, a pipe, to end.
dir=$(mktemp -d) && trap 'rm -rf "$dir"' EXIT
mkfifo "$dir/said" "$dir/hold"

# reply TYPE [FIELDS] answers the request $id. FIELDS begins with a comma.
reply() { printf '{"id":%s,"type":"%s"%s}\n' "$id" "$1" "$2"; }

# field NAME finds a number or a word in $line.
field() { printf '%s\n' "$line" | sed -n 's/.*"'"$1"'":"\{0,1\}\([-a-z0-9]*\).*/\1/p'; }

holder() { # [--wait D]: holds until $dir/hold ends
  zkcoord lock "$@" --session-timeout "${ZKCOORD_SESSION_TIMEOUT_MS}ms" --grace 100ms "$ZKCOORD_PATH" -- \
    sh -c 'echo "$ZKCOORD_TOKEN" >"$1"; cat >/dev/null' sh "$dir/said" <"$dir/hold"
  case $? in
  0) echo ended >"$dir/ended" ;;
  75) echo failed >"$dir/said" ;;
  *) printf '{"type":"lost","error":"zkcoord lock ended with %s"}\n' $?; echo failed >"$dir/ended" ;;
  esac
}

echo '{"type":"hello","protocol":1,"operations":["acquire","release"]}'
while read -r line; do
  id=$(field id) wait=$(field wait_ms)
  case $(field op) in
  acquire)
    rm -f "$dir/ended"
    holder ${wait:+--wait "${wait}ms"} &
    exec 3>"$dir/hold"
    read -r token <"$dir/said"
    if [ "$token" = failed ]; then exec 3>&- && wait && reply fail; else reply ok ",\"token\":$token"; fi
    ;;
  release)
    exec 3>&- && wait
    if [ "$(cat "$dir/ended")" = ended ]; then reply ok; else reply info ',"error":"it was lost"'; fi
    ;;
  *) reply fail ',"error":"unknown operation"' ;;
  esac
done
exec 3>&-
wait
