#!/usr/bin/env bash
# Builds an optimised sluice and runs the benchmarks: micro (Google Benchmark), sim (virtual time), tap (the kernel as peer).
# Results as tables on the terminal and as JSON files in build-release/bench-results/; tap.html there has plots.
#   bash bench/run.sh [micro] [sim] [tap]        all of them when none is named
#   bash bench/run.sh tap -- --rounds 5 ...      what follows goes to bench/tap/bench.py; its --help names the rest
# lwIP takes part as a rival where liblwip-dev is installed, or can be (as root).
set -euo pipefail
cd "$(dirname "$0")/.."
source .ci/deps.sh
install_packages build tests
install_packages rival || echo "without lwIP"

wanted=()
while [ $# -gt 0 ] && [ "$1" != -- ]; do wanted+=("$1"); shift; done
[ "${1:-}" = -- ] && shift
[ ${#wanted[@]} -gt 0 ] || wanted=(micro sim tap)

build=build-release
if [ ! -e $build/build.ninja ]; then
  meson setup $build --buildtype=release -Dbench=true -Dtests=false >/dev/null
elif [ -e /usr/include/lwip/lwip/init.h ] && [ ! -e $build/bench/lwip-server ]; then
  meson setup --reconfigure $build >/dev/null  # lwIP has come since
fi
ninja -C $build
results=$build/bench-results
mkdir -p $results

for part in "${wanted[@]}"; do
  case $part in
    micro) $build/bench/sluice-bench-micro --benchmark_out=$results/micro.json --benchmark_out_format=json ;;
    sim) $build/bench/sluice-bench-sim --json $results/sim.json ;;
    tap)
      python3 bench/tap/bench.py --sluice $build/apps/sluice --programs $build/bench \
        --json $results/tap.json --html $results/tap.html "$@" || [ $? -eq 77 ]
      ;;
    *) echo "bench/run.sh: no benchmark '$part'; there are: micro sim tap" >&2; exit 2 ;;
  esac
done
