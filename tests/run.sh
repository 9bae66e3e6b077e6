#!/usr/bin/env bash
# Installs what is needed, builds, and runs the tests. The last line is "N passed, N failed, N skipped".
#   bash tests/run.sh                 all tests with the ordinary build
#   bash tests/run.sh --sanitize      with clang's address and undefined-behaviour sanitizers
#   bash tests/run.sh --tsan          the suites with threads, with the thread sanitizer
#   bash tests/run.sh --all           all three
#   bash tests/run.sh --interop       only the tests against the system's kernel and programs
#   bash tests/run.sh --no-interop    all but these
#   bash tests/run.sh --fuzz SECONDS  each fuzz target for so long (clang's libFuzzer)
#   SLUICE_CAPTURES=FOLDER            also replays every capture of a folder with an index.csv
set -u
cd "$(dirname "$0")/.."
source .ci/deps.sh

mode=plain
seconds=0
suites=()
while [ $# -gt 0 ]; do
  case $1 in
    --sanitize) mode=sanitize ;;
    --tsan) mode=tsan ;;
    --all) mode=all ;;
    --interop) suites=(--suite interop) ;;
    --no-interop) suites=(--no-suite interop) ;;
    --fuzz) mode=fuzz; seconds=${2:-}; shift ;;
    *) echo "tests/run.sh: '$1' is no option; there are: --sanitize --tsan --all --interop --no-interop --fuzz SECONDS" >&2; exit 2 ;;
  esac
  shift
done

give_up() {
  echo "0 passed, 1 failed, 0 skipped"
  exit 1
}

among() {  # whether the mode is this one, or all
  [ $mode = "$1" ] || [ $mode = all ]
}

# Quick to build from nothing: precompiled headers, and as debug information only what a backtrace needs.
quick=(-Db_pch=true -Ddebug=false -Dcpp_args=-g1)
configure() {  # folder, compiler, meson options...
  local folder=$1 compiler=$2
  shift 2
  [ -e "$folder/build.ninja" ] || CXX=$compiler meson setup "$folder" "${quick[@]}" "$@" >/dev/null || give_up
}

results=()
run_in() {  # folder, meson test options...
  local folder=$1
  shift
  rm -f "$folder"/meson-logs/testlog*.json "$folder"/meson-logs/*.junit.xml
  meson test -C "$folder" --no-rebuild --print-errorlogs "$@"
  results+=("$folder")
}

case $mode in
  plain | tsan | all)
    install_packages build tests || exit 1
    install_packages programs  # a case whose program is missing is skipped
    ;;
esac
case $mode in
  sanitize | all | fuzz) install_packages build tests sanitize || exit 1 ;;
esac

tsan_targets=(tests/runtime/runtime_test tests/differential/differential_test)  # what has threads

# Many tests wait more than they work. Meanwhile the other builds are begun, so nice that the tests do not notice.
early=
begin_early() {
  set -m  # a process group of its own
  (nice -n 19 ninja -C build-sanitize && nice -n 19 ninja -C build-tsan "${tsan_targets[@]}") >build-sanitize/early.log 2>&1 &
  early=$!
  set +m
  disown $early
}
end_early() {  # the builds themselves go on from there, and fail if this has failed
  [ -n "$early" ] || return 0
  kill -- -$early 2>/dev/null
  while kill -0 -- -$early 2>/dev/null; do sleep 0.1; done
  early=
  cat build-sanitize/early.log
}
trap end_early EXIT

among plain && configure build g++ -Dbench=true
among sanitize && configure build-sanitize clang++ -Db_sanitize=address,undefined -Db_lundef=false -Doptimization=1
among tsan && configure build-tsan g++ -Db_sanitize=thread -Db_lundef=false -Dapps=false

if among plain; then
  ninja -C build || give_up
  [ $mode = all ] && begin_early
  run_in build "${suites[@]}"
  end_early
fi
if among sanitize; then
  ninja -C build-sanitize || give_up
  export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 SLUICE_SIM_SEEDS=3
  # The outside programs, the checks of the source and the golden tables of the simulation say nothing new here.
  export GTEST_FILTER='-*.Table'
  run_in build-sanitize --no-suite interop --no-suite check
  unset GTEST_FILTER
fi
if among tsan; then
  ninja -C build-tsan "${tsan_targets[@]}" || give_up
  export TSAN_OPTIONS=halt_on_error=1
  run_in build-tsan --suite runtime
fi
if [ $mode = fuzz ]; then
  configure build-fuzz clang++ -Dfuzz=true -Dtests=true -Dapps=false -Db_lundef=false
  ninja -C build-fuzz || give_up
  SLUICE_FUZZ_SECONDS=$seconds run_in build-fuzz --suite fuzz
fi

python3 tests/checks/summary.py "${results[@]}"
