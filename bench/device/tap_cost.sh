#!/usr/bin/env bash
# What a frame costs on a tap, by each way of moving it (io_uring, IFF_NAPI, more queues ...), in a network namespace that
# ends with this script.   bash bench/device/tap_cost.sh [ROUNDS]
set -euo pipefail
cd "$(dirname "$0")/../.."
build=build-release
[ -e $build/build.ninja ] || meson setup $build --buildtype=release -Dbench=true -Dtests=false >/dev/null
ninja -C $build bench/tap-cost >/dev/null
flags=-n
[ "$(id -u)" = 0 ] || flags=-Urn
exec unshare $flags $build/bench/tap-cost "$@"
