#!/usr/bin/env bash
# Builds sluice and shows the main job: the system's ping and curl reach our HTTP server over our TCP/IP through a tap, in a
# network namespace of its own. Without the privilege for that, the same between two stacks in memory.
set -euo pipefail
cd "$(dirname "$0")/.."
source .ci/deps.sh
install_packages build demo

[ -e build/build.ninja ] || meson setup build >/dev/null
ninja -C build apps/sluice
sluice=$PWD/build/apps/sluice
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }

over_a_tap() {
  ip link set lo up
  ip tuntap add dev tap0 mode tap
  ip address add 10.0.0.1/24 dev tap0
  ip link set tap0 up
  head -c $((64 << 20)) /dev/urandom >"$work/file"
  echo '<h1>hello</h1>' >"$work/index.html"
  "$sluice" httpd --dev tap:tap0 --addr 10.0.0.2/24 --capture "$work/capture.pcap" "$work" &
  server=$!
  for _ in $(seq 50); do ping -c1 -W1 10.0.0.2 >/dev/null 2>&1 && break; done

  say "The system's ping reaches the stack"
  ping -c 3 -i 0.2 10.0.0.2

  say "The system's curl fetches a page; the exchange as the wire saw it"
  curl -sS http://10.0.0.2/
  sleep 0.2
  cp "$work/capture.pcap" "$work/page.pcap"
  "$sluice" dump --ladder "$work/page.pcap"

  say "64 MiB through our TCP"
  curl -sS -o "$work/copy" -w '%{size_download} bytes in %{time_total} s\n' http://10.0.0.2/file
  kill $server
  wait $server || true
  same=$(sha256sum "$work/file" "$work/copy" | cut -d' ' -f1 | uniq | wc -l)
  sha256sum "$work/file" "$work/copy" | sed "s|$work/||"
  [ "$same" = 1 ] || { echo "the copy differs" >&2; exit 1; }
  say "The hashes are equal. Namespace and tap vanish with this script."
}

in_memory() {
  say "$1: two stacks over an in-memory Ethernet instead; as root this runs over a tap"
  "$sluice" ping --dev mem --addr 10.0.0.1/24 -c 3 -i 0.2 10.0.0.2
  say "A page from the other stack; the exchange as the wire saw it"
  "$sluice" get --dev mem --addr 10.0.0.1/24 --capture "$work/capture.pcap" -o - http://10.0.0.2/
  "$sluice" dump --ladder "$work/capture.pcap"
}

if [ "${1:-}" = --inside ]; then
  over_a_tap
  exit 0
fi
flags=-n
[ "$(id -u)" -eq 0 ] || flags=-Urn
if ! unshare $flags true 2>/dev/null; then
  in_memory "No network namespace can be made here"
elif [ ! -r /dev/net/tun ] || [ ! -w /dev/net/tun ]; then
  in_memory "/dev/net/tun is not accessible"
else
  unshare $flags bash "$0" --inside
fi
