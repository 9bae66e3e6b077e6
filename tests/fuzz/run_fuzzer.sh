#!/bin/sh
# Runs one libFuzzer target for SLUICE_FUZZ_SECONDS (default 10).
exec "$1" -max_total_time="${SLUICE_FUZZ_SECONDS:-10}" -max_len=4096 -print_final_stats=1
