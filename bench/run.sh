#!/usr/bin/env bash
# Builds an optimised sluice and runs the benchmarks: micro (Google Benchmark), sim (virtual time), tap (the kernel as peer).
# Results as tables on the terminal and as JSON files in build-release/bench-results/.
#   bash bench/run.sh [micro] [sim] [tap]        all of them when none is named
#   SLUICE_BENCH_SECONDS, SLUICE_BENCH_ROUNDS    length and number of the tap runs (default 2 and 3)
set -euo pipefail
cd "$(dirname "$0")/.."
source .ci/deps.sh
install_packages build tests

build=build-release
[ -e $build/build.ninja ] || meson setup $build --buildtype=release -Dbench=true >/dev/null
ninja -C $build
results=$build/bench-results
mkdir -p $results

wanted=${*:-micro sim tap}
for part in $wanted; do
  case $part in
    micro) $build/bench/sluice-bench-micro --benchmark_out=$results/micro.json --benchmark_out_format=json ;;
    sim) $build/bench/sluice-bench-sim --json $results/sim.json ;;
    tap)
      python3 bench/tap/bench.py --sluice $build/apps/sluice --load $build/bench/load \
        --seconds "${SLUICE_BENCH_SECONDS:-2}" --rounds "${SLUICE_BENCH_ROUNDS:-3}" --json $results/tap.json || [ $? -eq 77 ]
      ;;
    *) echo "bench/run.sh: no benchmark '$part'; there are: micro sim tap" >&2; exit 2 ;;
  esac
done
