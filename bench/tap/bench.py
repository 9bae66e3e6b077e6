#!/usr/bin/env python3
"""Throughput over a tap: `sluice benchd` with the kernel as its peer, beside kernel to kernel over veth.

Everything runs inside network namespaces that this script makes and that end with it. The targets are measured in turn,
round by round, so that a change in the machine's speed meets all of them; the table shows medians and the ratio to
veth without offloads. Needs root (or an accessible /dev/net/tun and user namespaces): exit code 77 and the reason if not.
"""
import argparse
import contextlib
import json
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import time

TESTS = {  # name: (arguments of `load`, key of the result, unit)
    "bulk_in": (["bulk-in", "{host}", "{seconds}"], "gbit_per_s", "Gbit/s"),
    "bulk_out": (["bulk-out", "{host}", "{seconds}"], "gbit_per_s", "Gbit/s"),
    "rr": (["rr", "{host}", "{seconds}"], "per_s", "/s"),
    "connect": (["connect", "{host}", "{count}", "32"], "per_s", "/s"),
    "udp_echo": (["udp", "{host}", "{seconds}"], "per_s", "/s"),
}
CLIENT, SERVER = "10.77.0.1", "10.77.0.2"


def run(*command):
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


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


def pinned(cpu, command):
    """The command on one processor, where there is more than one."""
    if os.cpu_count() < 2 or not shutil.which("taskset"):
        return command
    return ["taskset", "-c", str(cpu), *command]


@contextlib.contextmanager
def started(command):
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(3)
        if process.poll() is None:
            process.kill()
        process.wait()


def wait_for(process, host):
    """Until the host answers a ping; the server's own words if it ended."""
    for _ in range(50):
        if process.poll() is not None:
            sys.exit("the server ended: " + process.stderr.read())
        if subprocess.run(["ping", "-c1", "-W1", host], stdout=subprocess.DEVNULL).returncode == 0:
            return
        time.sleep(0.1)
    sys.exit(f"{host} does not answer")


class Tap:
    """sluice on a tap of MTU 1500, the kernel of this namespace at the other end."""

    def __init__(self, sluice, name, arguments):
        self.sluice, self.name, self.arguments = sluice, name, arguments

    @contextlib.contextmanager
    def server(self, seconds):
        run("ip", "tuntap", "add", "dev", "bench0", "mode", "tap")
        try:
            run("ip", "address", "add", CLIENT + "/24", "dev", "bench0")
            run("ip", "link", "set", "bench0", "up")
            command = [self.sluice, "benchd", "--dev", "tap:bench0", "--addr", SERVER + "/24", *self.arguments]
            with started(pinned(1, command)) as process:
                wait_for(process, SERVER)
                yield
        finally:
            run("ip", "tuntap", "del", "dev", "bench0", "mode", "tap")


class Veth:
    """The kernel at both ends of a veth pair."""

    def __init__(self, load, name, offload):
        self.load, self.name, self.offload = load, name, offload

    @contextlib.contextmanager
    def server(self, seconds):
        # The far end lives in a namespace of the server's process, and the pair ends with it.
        command = ["unshare", "-n", "sh", "-c", 'read go; exec "$@"', "sh", *pinned(1, [self.load, "serve", str(seconds)])]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        try:
            time.sleep(0.2)
            run("ip", "link", "add", "bench0", "type", "veth", "peer", "name", "bench1", "netns", str(process.pid))
            inside = ["nsenter", "-t", str(process.pid), "-n"]
            run("ip", "address", "add", CLIENT + "/24", "dev", "bench0")
            run(*inside, "ip", "address", "add", SERVER + "/24", "dev", "bench1")
            if not self.offload:
                for prefix, device in ([], "bench0"), (inside, "bench1"):
                    run(*prefix, "ethtool", "-K", device, "tso", "off", "gso", "off", "gro", "off")
            run("ip", "link", "set", "bench0", "up")
            run(*inside, "ip", "link", "set", "bench1", "up")
            process.stdin.write("go\n")
            process.stdin.flush()
            wait_for(process, SERVER)
            yield
        finally:
            process.kill()
            process.wait()
            subprocess.run(["ip", "link", "del", "bench0"], stderr=subprocess.DEVNULL)


def measure(load, test, options):
    values = {"host": SERVER, "seconds": options.seconds, "count": options.connections}
    command = [part.format(**values) for part in TESTS[test][0]]
    done = subprocess.run(pinned(0, [load, *command]), capture_output=True, text=True, timeout=120)
    if done.returncode != 0:
        return {"error": done.stderr.strip()}
    return json.loads(done.stdout)


def congestion_control():
    """The kernel's, in this namespace: cubic where it can be chosen, because the default differs between machines."""
    path = "/proc/sys/net/ipv4/tcp_congestion_control"
    with contextlib.suppress(OSError):
        with open(path, "w") as f:
            f.write("cubic")
    with open(path) as f:
        return f.read().strip()


def summarize(results, names):
    print(f"\n{'':12}" + "".join(f"{name:>22}" for name in names))
    for test, (_, key, unit) in TESTS.items():
        row = f"{test:12}"
        base = [r[key] for r in results[names[-1]][test] if key in r]
        for name in names:
            values = [r[key] for r in results[name][test] if key in r]
            if not values:
                row += f"{'failed':>22}"
                continue
            median = statistics.median(values)
            ratio = f" ({median / statistics.median(base):.2f})" if base else ""
            row += f"{median:>14,.{2 if unit == 'Gbit/s' else 0}f}{ratio:>8}"
        print(row + f"  {unit}")
    print(f"\nmedians; in parentheses the ratio to {names[-1]}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sluice", required=True, help="the sluice binary")
    parser.add_argument("--load", required=True, help="the load program of this folder")
    parser.add_argument("--seconds", type=float, default=2, help="length of each timed run (default 2)")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each test on each target (default 3)")
    parser.add_argument("--connections", type=int, default=20000, help="count of the connect test (default 20000)")
    parser.add_argument("--only", help="comma-separated tests: " + ", ".join(TESTS))
    parser.add_argument("--json", help="write all results to this file")
    options = parser.parse_args()
    enter_namespace()
    run("ip", "link", "set", "lo", "up")
    with open("/proc/sys/net/ipv4/ip_local_port_range", "w") as f:
        f.write("1024 65535")
    kernel_cc = congestion_control()
    wanted = options.only.split(",") if options.only else list(TESTS)
    for test in wanted:
        if test not in TESTS:
            parser.error(f"no test '{test}'; there are: " + ", ".join(TESTS))
    targets = [
        Tap(options.sluice, "sluice, tap", []),
        Veth(options.load, "kernel, veth", True),
        Veth(options.load, "veth, no offload", False),
    ]
    results = {t.name: {test: [] for test in TESTS} for t in targets}
    for round_number in range(options.rounds):
        for target in targets:
            for test in wanted:
                with target.server(options.seconds + 60):
                    result = measure(options.load, test, options)
                results[target.name][test].append(result)
                print(f"round {round_number + 1}  {target.name:18} {test:10} {json.dumps(result)}", flush=True)
    summarize(results, [t.name for t in targets])
    if options.json:
        about = {"kernel": platform.release(), "processors": os.cpu_count(), "kernel_congestion_control": kernel_cc,
                 "seconds": options.seconds, "rounds": options.rounds, "mtu": 1500}
        with open(options.json, "w") as f:
            json.dump({"about": about, "results": results}, f, indent=1)
    failed = any("error" in r for tests in results.values() for runs in tests.values() for r in runs)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
