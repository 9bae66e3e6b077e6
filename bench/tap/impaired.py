#!/usr/bin/env python3
"""Goodput of one TCP stream over a tap whose link is made worse (sluice's own impairment), the kernel at the other end:
sluice sends to iperf3, and the kernel's iperf3 sends to sluice over the same link, by turns.

    python3 bench/tap/impaired.py --sluice build-release/apps/sluice [--loss 0,0.1%,1%] [--seconds 10] [--json FILE]
    python3 bench/tap/impaired.py --sluice build-release/apps/sluice --shares bbr,cubic

The second form runs two flows over the link at the same time, each with a controller of its own, and says what each
received: iperf3 on sluice sends to iperf3 on the kernel (`sluice run`), and the kernel's sends to sluice's.

Each direction of the link has half of the round trip, a queue of one bandwidth-delay product, and the loss. Runs in a
network namespace that ends with it; needs root (or user namespaces and /dev/net/tun) and iperf3: exit code 77 and the
reason if not.
"""
import argparse
import contextlib
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import bench
from targets import end, run

KERNEL, STACK = "10.77.0.1", "10.77.0.2"
PORT = "5201"


@contextlib.contextmanager
def tap():
    run("ip", "tuntap", "add", "dev", "bench0", "mode", "tap")
    try:
        run("ip", "address", "add", KERNEL + "/24", "dev", "bench0")
        run("ip", "link", "set", "bench0", "up")
        yield
    finally:
        run("ip", "tuntap", "del", "dev", "bench0", "mode", "tap")


@contextlib.contextmanager
def server(command):
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(0.5)
    try:
        yield
    finally:
        end(process)


def received(command, seconds):
    """Mbit/s at the receiver, from the report of the sender: iperf3's and ours have the same form."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60)
    if done.returncode != 0:
        sys.exit(f"{command[0]}: exit {done.returncode}: {done.stdout[-300:]} {done.stderr[-300:]}")
    return json.loads(done.stdout)["end"]["sum_received"]["bits_per_second"] / 1e6


def ours(sluice, link, control, seconds):
    stack = ["--dev", "tap:bench0", "--addr", STACK + "/24", "--impair", link]
    with tap(), server(["iperf3", "-s", "-1"]):
        return received([sluice, "perf", *stack, "--cc", control, "--json", "-t", str(seconds), KERNEL], seconds)


def kernels(sluice, link, control, seconds):
    stack = ["--dev", "tap:bench0", "--addr", STACK + "/24", "--impair", link]
    with tap(), server([sluice, "perf", "-s", "-1", *stack]):
        return received(["iperf3", "-c", STACK, "-C", control, "-J", "-t", str(seconds)], seconds)


def both(sluice, link, sender, controls, seconds):
    """Mbit/s of two flows that begin together, one for each controller."""
    runner = [sluice, "run", "--dev", "tap:bench0", "--addr", STACK + "/24", "--impair", link, "--"]
    wait = "; wait"
    receive = " & ".join(f"iperf3 -s -1 -p {5301 + i}" for i in range(2)) + wait
    host = KERNEL if sender == "sluice" else STACK
    send = " & ".join(f"iperf3 -c {host} -p {5301 + i} -C {control} -J -t {seconds} > $OUT/{i}"
                      for i, control in enumerate(controls)) + wait
    with tempfile.TemporaryDirectory() as folder, tap():
        environment = {**os.environ, "OUT": folder}
        receiving = subprocess.Popen([*([] if sender == "sluice" else runner), "sh", "-c", receive],
                                     stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(1.5)
        subprocess.run([*(runner if sender == "sluice" else []), "sh", "-c", send], env=environment, timeout=seconds + 60,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
        receiving.wait(timeout=30)
        reports = [json.loads((pathlib.Path(folder) / str(i)).read_text()) for i in range(2)]
    return [report["end"]["sum_received"]["bits_per_second"] / 1e6 for report in reports]


def shares(arguments, link):
    controls = arguments.shares.split(",")
    if len(controls) != 2:
        sys.exit(f"--shares {arguments.shares}: name two controllers, like bbr,cubic")
    print(f"{'sender':10}{controls[0]:>10}{controls[1]:>10}   Mbit/s, medians of {arguments.rounds}")
    for sender in ("sluice", "kernel"):
        runs = [both(arguments.sluice, link, sender, controls, arguments.seconds) for _ in range(arguments.rounds)]
        print(f"{sender:10}" + "".join(f"{statistics.median(run[i] for run in runs):10.1f}" for i in range(2)), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sluice", required=True, help="the sluice binary")
    parser.add_argument("--loss", default="0%,0.1%,1%", help="comma-separated (default 0%%,0.1%%,1%%)")
    parser.add_argument("--cc", default="cubic,bbr", help="controllers that both have (default cubic,bbr)")
    parser.add_argument("--rate", type=float, default=1000, help="Mbit/s (default 1000)")
    parser.add_argument("--rtt", type=float, default=10, help="ms (default 10)")
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--shares", help="two flows at the same time, with these controllers")
    parser.add_argument("--json", help="write all results to this file")
    arguments = parser.parse_args()
    if not shutil.which("iperf3"):
        print("skipped: iperf3 is not installed")
        sys.exit(77)
    bench.enter_namespace()
    bench.prepare_kernel()
    product = int(arguments.rate * 1e6 / 8 * arguments.rtt / 1e3)
    if arguments.shares:
        return shares(arguments, f"rate={arguments.rate:g}mbit,delay={arguments.rtt / 2:g}ms,queue={product}")
    rows = []
    print(f"{'loss':8}{'control':10}{'sluice':>10}{'kernel':>10}{'ratio':>8}   Mbit/s, medians of {arguments.rounds}")
    for loss in arguments.loss.split(","):
        for control in arguments.cc.split(","):
            link = f"rate={arguments.rate:g}mbit,delay={arguments.rtt / 2:g}ms,queue={product},loss={loss}"
            runs = {"sluice": [], "kernel": []}
            for _ in range(arguments.rounds):
                runs["sluice"].append(ours(arguments.sluice, link, control, arguments.seconds))
                runs["kernel"].append(kernels(arguments.sluice, link, control, arguments.seconds))
            a, b = (statistics.median(runs[name]) for name in ("sluice", "kernel"))
            print(f"{loss:8}{control:10}{a:10.1f}{b:10.1f}{a / b:8.2f}", flush=True)
            rows.append({"loss": loss, "control": control, "link": link, **runs})
    if arguments.json:
        with open(arguments.json, "w") as f:
            json.dump({"unit": "Mbit/s", "rows": rows}, f, indent=1)


if __name__ == "__main__":
    main()
