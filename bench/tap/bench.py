#!/usr/bin/env python3
"""Measures `sluice benchd` over a tap with the kernel as its peer, beside what else could stand there.

Everything runs inside network namespaces that this script makes and that end with it. The targets are measured in turn,
round by round, so that a change in the machine's speed meets all of them. Needs root (or an accessible /dev/net/tun and
user namespaces): exit code 77 and the reason if not.

targets   sluice             the event loop; `no-offload`, `zero-copy` (the application works in the stack's buffers) and
                             `blocking` (BSD calls, a thread a connection) are variants
          lwip               lwIP's raw API, one spinning thread (only where liblwip-dev is installed)
          ideal              no protocol stack at all: what the tap itself can do, with one copy to or from the application;
                             `keeping` holds 6 MiB of what it sent, as a sender must that may have to retransmit
          veth               the kernel at both ends
tests     bulk_in bulk_out   one stream into or out of the server
          rr rr_one_cpu      1 byte there and back, on two processors and on one
          connect closed     connect, 1 byte there and back, close, 32 at a time; the client or the server closes first
          udp_echo           64-byte datagrams, 32 in flight
          http               wrk, 32 connections, keep-alive
          memory             resident bytes of the server's process a connection, of thousands that are open and idle
          crowd              connect, while they are open
"""
import argparse
import contextlib
import json
import os
import platform
import re
import resource
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass

import report
import targets as tap_targets
from targets import CLIENT_CPU, KERNEL_CONGESTION_CONTROL, SERVER, SERVER_CPU, SOURCES, pinned, run


@dataclass(frozen=True)
class Test:
    name: str
    load: list           # arguments of `load`; wrk's where it is the client
    key: str             # of the result that counts
    unit: str
    one_processor: bool = False
    client: str = "load"  # or wrk, or none: only the crowd is looked at
    crowded: bool = False
    less_is_better: bool = False


TESTS = [
    Test("bulk_in", ["bulk-in", "{host}", "{seconds}"], "gbit_per_s", "Gbit/s"),
    Test("bulk_out", ["bulk-out", "{host}", "{seconds}"], "gbit_per_s", "Gbit/s"),
    Test("rr", ["rr", "{host}", "{seconds}"], "per_s", "/s"),
    Test("rr_one_cpu", ["rr", "{host}", "{seconds}"], "per_s", "/s", one_processor=True),
    Test("connect", ["connect", "{host}", "{seconds}", "32", *SOURCES], "per_s", "/s"),
    Test("closed", ["closed", "{host}", "{seconds}", "32", *SOURCES], "per_s", "/s"),
    Test("udp_echo", ["udp", "{host}", "{seconds}"], "per_s", "/s"),
    Test("http", ["-t1", "-c32", "-d{whole_seconds}s", "http://{host}:8080/"], "per_s", "/s", client="wrk"),
    Test("memory", [], "bytes_per_connection", "B", client="none", crowded=True, less_is_better=True),
    Test("crowd", ["connect", "{host}", "{seconds}", "32", *SOURCES], "per_s", "/s", crowded=True),
]


def enter_namespace():
    """Runs this script again inside a network namespace of its own."""
    if os.environ.get("SLUICE_BENCH_NS") == "1":
        return
    flags = ["-n"] if os.geteuid() == 0 else ["-Urn"]
    probe = subprocess.run(["unshare", *flags, "true"], capture_output=True, text=True)
    if probe.returncode != 0:
        print("skipped: no network namespace can be made here: " + probe.stderr.strip() + "; run as root")
        sys.exit(77)
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        print("skipped: /dev/net/tun cannot be opened by this user; run as root")
        sys.exit(77)
    os.environ["SLUICE_BENCH_NS"] = "1"
    os.execvp("unshare", ["unshare", *flags, sys.executable, *sys.argv])


def set_kernel(name, value):
    """Sets what this namespace may choose; the value in force."""
    path = "/proc/sys/net/ipv4/" + name
    with contextlib.suppress(OSError), open(path, "w") as f:
        f.write(value)
    with contextlib.suppress(OSError), open(path) as f:
        return " ".join(f.read().split())
    return None


def prepare_kernel():
    """Settings of the kernel in the client's namespace, which those of the servers inherit.

    Of the client's own TIME-WAIT nothing is kept: searching for a free port among them would be all that `connect` shows.
    """
    run("ip", "link", "set", "lo", "up")
    names = {"ip_local_port_range": "1024 65535", "tcp_max_tw_buckets": "64"}
    return {name: set_kernel(name, value) for name, value in names.items()}


def cpu_seconds(pid):
    """User and system time of all threads so far, also of those that have ended."""
    with open(f"/proc/{pid}/stat") as f:
        fields = f.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def busy_seconds():
    """Of all processors together: time that was not idle, whoever used it (also other machines on the same host)."""
    with open("/proc/stat") as f:
        user, nice, system, idle, wait, *rest = map(int, f.readline().split()[1:9])
    return (user + nice + system + sum(rest)) / os.sysconf("SC_CLK_TCK")


def own_seconds(pid):
    client = resource.getrusage(resource.RUSAGE_CHILDREN)
    return cpu_seconds(pid) + client.ru_utime + client.ru_stime


def resident_bytes(pid):
    with open(f"/proc/{pid}/statm") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@contextlib.contextmanager
def crowd(load, count):
    """So many idle connections to the server."""
    process = subprocess.Popen([load, "hold", SERVER, str(count), *SOURCES], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)
    try:
        if not process.stdout.readline():
            raise ClientFailed(process.stderr.read().strip())
        yield
    finally:
        process.kill()
        process.communicate()


def distance(program):
    """Nanoseconds for a cache line to the server's processor and back; None where there is only one."""
    if len(os.sched_getaffinity(0)) < 2:
        return None
    done = subprocess.run([program, str(CLIENT_CPU), str(SERVER_CPU)], capture_output=True, text=True, timeout=10)
    return int(done.stdout) if done.returncode == 0 else None


class ClientFailed(Exception):
    pass


def client_command(test, load, seconds):
    values = {"host": SERVER, "seconds": seconds, "whole_seconds": max(1, round(seconds))}
    arguments = [part.format(**values) for part in test.load]
    return pinned(CLIENT_CPU, ["wrk" if test.client == "wrk" else load, *arguments])


def run_client(load, test, seconds):
    done = subprocess.run(client_command(test, load, seconds), capture_output=True, text=True, timeout=60)
    if done.returncode != 0:
        raise ClientFailed((done.stderr or done.stdout).strip())
    if test.client == "load":
        return json.loads(done.stdout)
    rate = re.search(r"Requests/sec:\s*([\d.]+)", done.stdout)
    errors = re.search(r"(Socket errors.*|Non-2xx.*)", done.stdout)
    if errors or not rate or float(rate[1]) == 0:
        raise ClientFailed(errors[0] if errors else "no answers")
    return {"test": "http", "per_s": float(rate[1])}


def measure_load(load, test, pid, seconds):
    """One run of the client, and what it cost the server and others."""
    start, before, own, busy = time.monotonic(), cpu_seconds(pid), own_seconds(pid), busy_seconds()
    result = run_client(load, test, seconds)
    used = cpu_seconds(pid) - before
    foreign = busy_seconds() - busy - (own_seconds(pid) - own)
    result["foreign_load"] = round(max(foreign, 0) / (time.monotonic() - start), 2)
    if result.get("bytes"):
        result["cpu_s_per_gb"] = round(used / (result["bytes"] / 1e9), 4)
    return result


def measure(load, target, test, options):
    try:
        with target.server(test) as pid:
            if not test.crowded:
                return measure_load(load, test, pid, options.seconds)
            before = resident_bytes(pid)
            with crowd(load, options.crowd):
                if test.client != "none":
                    return measure_load(load, test, pid, options.seconds)
                return {"test": test.name, "bytes_per_connection": (resident_bytes(pid) - before) // options.crowd}
    except (ClientFailed, subprocess.TimeoutExpired, FileNotFoundError) as failure:
        return {"error": str(failure)}


class Patience:
    """Repeats runs that something disturbed, after waiting for a quiet moment; bounded over all runs together."""

    def __init__(self, seconds, distance_program):
        self.left = seconds
        self.distance_program = distance_program
        self.nearest = None  # that the two processors ever were

    def measure(self, load, target, test, options):
        while True:
            start = time.monotonic()
            result = self.measure_with_distance(load, target, test, options)
            if not report.disturbed(result, self.nearest) or self.left <= 0:
                return result
            self.wait_for_quiet()
            self.left -= time.monotonic() - start

    def measure_with_distance(self, load, target, test, options):
        before = distance(self.distance_program)
        result = measure(load, target, test, options)
        after = distance(self.distance_program)
        if before and after:
            result["distance_ns"] = max(before, after)
            self.nearest = min(before, after, self.nearest or before)
        return result

    def wait_for_quiet(self):
        look = 0.2  # s
        for _ in range(int(self.left / look) + 1):
            before = busy_seconds()
            time.sleep(look)
            if busy_seconds() - before < report.DISTURBED * look:
                return


def machine():
    with open("/proc/cpuinfo") as f:
        model = re.search(r"model name\s*:\s*(.*)", f.read())
    return {"processor": model[1] if model else platform.machine(), "processors": os.cpu_count(),
            "kernel": platform.release(), "date": time.strftime("%Y-%m-%d %H:%M:%S")}


def chosen(given, known, kind, parser):
    """The known things of a comma-separated list, all when there is none."""
    names = {item.name: item for item in known}
    wanted = given.split(",") if given else list(names)
    for name in wanted:
        if name not in names:
            parser.error(f"no {kind} '{name}'; there are: " + ", ".join(names))
    return [names[name] for name in wanted]


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sluice", required=True, help="the sluice binary")
    parser.add_argument("--programs", required=True, help="the folder of the programs built from bench/")
    parser.add_argument("--seconds", type=float, default=1, help="length of each run (default 1)")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each test on each target (default 3)")
    parser.add_argument("--cc", default="cubic", help="congestion control of sluice (default cubic)")
    parser.add_argument("--crowd", type=int, default=5000, help="connections that idle in memory and crowd (default 5000)")
    parser.add_argument("--patience", type=float, default=60, metavar="S",
                        help="seconds, in all, for repeating runs that other programs disturb, or that find the "
                             "processors far from each other (default 60)")
    parser.add_argument("--tests", help="comma-separated; default: all")
    parser.add_argument("--targets", help="comma-separated; default: all")
    parser.add_argument("--json", help="write all results to this file")
    parser.add_argument("--html", help="write a page with plots to this file")
    parser.add_argument("--compare", metavar="OLD.json", help="show what changed beyond noise since these results")
    options = parser.parse_args()
    options.old = json.load(open(options.compare)) if options.compare else None
    options.tests = chosen(options.tests, TESTS, "test", parser)
    known = tap_targets.all_targets(options.sluice, options.cc, options.programs)
    options.targets = chosen(options.targets, known, "target", parser)
    return options


def main():
    options = parse_arguments()
    enter_namespace()
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))  # the clients and servers inherit it
    about = machine() | {"seconds": options.seconds, "rounds": options.rounds, "mtu": 1500, "crowd": options.crowd,
                         "kernel_settings": prepare_kernel(),
                         "congestion_control": {"kernel": KERNEL_CONGESTION_CONTROL, "sluice": options.cc}}
    if not shutil.which("wrk"):
        print("wrk is not installed: no http")
        options.tests = [t for t in options.tests if t.client != "wrk"]
    load = os.path.join(options.programs, "load")
    patience = Patience(options.patience, os.path.join(options.programs, "distance"))
    results = report.Results(about, options.tests, [t.name for t in options.targets])
    for round_number in range(options.rounds):
        for test in options.tests:
            for target in options.targets:
                if not target.supports(test):
                    continue
                result = patience.measure(load, target, test, options)
                results.add(target.name, test.name, result)
                print(f"round {round_number + 1}  {target.name:18} {test.name:10} {json.dumps(result)}", flush=True)
    print("\n" + report.table(results.data))
    if options.old:
        print("\n" + report.compare(options.old, results.data))
    if options.json:
        with open(options.json, "w") as f:
            json.dump(results.data, f, indent=1)
    if options.html:
        with open(options.html, "w") as f:
            f.write(report.page(results.data))
    sys.exit(1 if results.failed() else 0)


if __name__ == "__main__":
    main()
