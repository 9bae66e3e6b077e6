#!/usr/bin/env python3
"""Where the time of `sluice benchd` goes, by layer: samples of perf while the tests of bench.py run against it.

    python3 bench/tap/profile.py --sluice build-release/apps/sluice --programs build-release/bench [--tests rr,http]

Needs perf (Debian: linux-perf) and what bench.py needs. Percent of the samples of the server's process. "kernel: write"
includes the kernel's own TCP at the other end of the tap, which runs within the call that brings it a frame.
"""
import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time

import bench
import targets as tap_targets

# The first one that fits a frame of the call chain, from the innermost to the outermost, names the row.
KERNEL = [("tun_chr_write_iter", "kernel: write"), ("tun_chr_read_iter", "kernel: read"),
          ("do_epoll_wait", "kernel: sleep"), ("do_sys_poll", "kernel: sleep"), ("futex", "kernel: sleep")]
OURS = ["drivers", "link", "ip", "udp", "tcp", "buf", "wire", "socket", "apps"]


def row_of(chain):
    """The row of a sample. `chain`: (symbol, object) of its frames, the innermost first."""
    symbol, where = chain[0]
    if where.startswith("[kernel") or where == "[unknown]":
        for name, row in KERNEL:
            if any(name in s for s, _ in chain):
                return row
        return "kernel: other"
    if "mem" in symbol and "libc" in where:
        return "copies"
    if "libc" in where or "vdso" in where or "libstdc++" in where:
        return "C library"
    for layer in OURS:
        if f"sluice::{layer}::" in symbol:
            return "sluice: " + layer
    return "sluice: runtime"


def chains(text):
    chain = []
    for line in text.splitlines():
        if line.startswith(("\t", " ")) and line.strip():
            _, _, rest = line.strip().partition(" ")
            symbol, _, where = rest.rpartition(" (")
            chain.append((symbol, where.rstrip(")")))
        elif chain:
            yield chain
            chain = []
    if chain:
        yield chain


def profile(target, test, load, seconds, data):
    with target.server(test) as pid:
        client = subprocess.Popen(bench.client_command(test, load, seconds + 1), stdout=subprocess.DEVNULL)
        time.sleep(0.3)
        subprocess.run(["perf", "record", "-q", "-F", "1999", "-e", "cpu-clock", "-g", "-p", str(pid), "-o", data,
                        "sleep", str(seconds)], check=True, stderr=subprocess.DEVNULL)
        client.wait()
    text = subprocess.run(["perf", "script", "-i", data, "-F", "ip,sym,dso"], capture_output=True, text=True).stdout
    counts = {}
    for chain in chains(text):
        row = row_of(chain)
        counts[row] = counts.get(row, 0) + 1
    total = sum(counts.values())
    return {row: 100 * n / total for row, n in counts.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sluice", required=True, help="the sluice binary")
    parser.add_argument("--programs", required=True, help="the folder of the programs built from bench/")
    parser.add_argument("--target", default="sluice", help="as bench.py names them (default: sluice)")
    parser.add_argument("--tests", default="bulk_in,bulk_out,rr,connect,udp_echo,http", help="comma-separated")
    parser.add_argument("--seconds", type=int, default=2)
    arguments = parser.parse_args()
    if not shutil.which("perf"):
        print("skipped: there is no perf here; Debian has it in linux-perf")
        sys.exit(77)
    bench.enter_namespace()
    bench.prepare_kernel()
    target = next((t for t in tap_targets.all_targets(arguments.sluice, "cubic", arguments.programs)
                   if t.name == arguments.target), None)
    if target is None:
        sys.exit(f"there is no target '{arguments.target}'; bench.py --help lists them")
    wanted = arguments.tests.split(",")
    tests = [t for t in bench.TESTS if t.name in wanted and t.client != "none"]
    with tempfile.TemporaryDirectory() as folder:
        load = os.path.join(arguments.programs, "load")
        columns = {t.name: profile(target, t, load, arguments.seconds, os.path.join(folder, "perf.data")) for t in tests}
    rows = sorted({row for c in columns.values() for row in c})
    print(f"{'':18}" + "".join(f"{name:>12}" for name in columns))
    for row in rows:
        print(f"{row:18}" + "".join(f"{c.get(row, 0):12.1f}" for c in columns.values()))


if __name__ == "__main__":
    main()
