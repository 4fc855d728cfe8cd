#!/usr/bin/env bash
# Installs the peers if they are missing, builds their driver, and runs it in a network namespace of its own: its loopback counters are then
# those of the run alone. Where none can be made, the column of wire bytes is left out. Started by `make bench-peers`.
set -euo pipefail
cd "$(dirname "$0")/../.."

fail() {
    printf 'bench-peers: %s\n' "$*" >&2
    exit 1
}

missing=()
export PATH=$PATH:/usr/sbin:/sbin
command -v nats-server >/dev/null || missing+=(nats-server)
command -v redis-server >/dev/null || missing+=(redis-server)
command -v setpriv >/dev/null || missing+=(util-linux)
command -v ip >/dev/null || missing+=(iproute2)
if [ ${#missing[@]} -gt 0 ]; then
    command -v apt-get >/dev/null || fail "missing here: ${missing[*]} (Debian names), and there is no apt-get."
    as_root=()
    [ "$(id -u)" -eq 0 ] || as_root=(sudo)
    printf 'bench-peers: installing %s\n' "${missing[*]}"
    "${as_root[@]}" apt-get update -q || printf 'bench-peers: the package lists could not be refreshed; going on with the old ones\n' >&2
    # In run level 1 no package starts its service. What it enabled for the next boot is disabled again: nobody asked for a server that stays.
    "${as_root[@]}" env RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}" ||
        fail "apt-get could not install ${missing[*]}."
    for service in nats-server redis-server; do
        [[ " ${missing[*]} " == *" $service "* ]] || continue
        "${as_root[@]}" systemctl disable --now "$service" 2>/dev/null || "${as_root[@]}" systemctl disable "$service" 2>/dev/null || true
    done
fi

export TIDINGS_PEERS_TIDINGS=${TIDINGS_PEERS_TIDINGS:-$CARGO_TARGET_DIR/release/tidings}
[ -x "$TIDINGS_PEERS_TIDINGS" ] || fail "there is no $TIDINGS_PEERS_TIDINGS; use make bench-peers"
TIDINGS_PEERS_COMMIT=$(git rev-parse --short HEAD)
TIDINGS_PEERS_DAY=$(date -u +%F)
TIDINGS_PEERS_VERSIONS="NATS $(nats-server --version | sed -E 's/.*v//'), Redis $(redis-server --version | sed -E 's/.*v=([0-9.]+).*/\1/')"
export TIDINGS_PEERS_COMMIT TIDINGS_PEERS_DAY TIDINGS_PEERS_VERSIONS

cargo build --release --locked --manifest-path benches/peers/Cargo.toml --target-dir "$CARGO_TARGET_DIR-peers"
program=$CARGO_TARGET_DIR-peers/release/tidings-peers
# As many idle readers as the machine allows: each is a connection, an open file on both sides.
ulimit -n "$(ulimit -Hn)"
# shellcheck disable=SC2016
inside='ip link set lo up && { echo "10000 65500" >/proc/sys/net/ipv4/ip_local_port_range || true; } && TIDINGS_PEERS_OWN_NETWORK=1 exec "$0"'
if unshare --net sh -c 'ip link set lo up' 2>/dev/null; then
    exec unshare --net sh -c "$inside" "$program"
fi
if unshare --net --map-root-user sh -c 'ip link set lo up' 2>/dev/null; then
    exec unshare --net --map-root-user sh -c "$inside" "$program"
fi
printf 'bench-peers: no network namespace can be made here; bytes on the wire are left out\n' >&2
exec "$program"
