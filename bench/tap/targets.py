"""What is measured: servers at the far end of a tap or a veth pair, each in namespaces that end with it.

A target is entered for one test: `with target.server(test) as pid:` has its server running and answering at SERVER.
"""
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time

CLIENT, SERVER = "10.77.0.1", "10.77.0.2"
SOURCES = [f"10.77.0.{n}" for n in range(101, 117)]  # further addresses of the client, for tests of many connections
ECHO_PORT = 5003
KERNEL_CONGESTION_CONTROL = "cubic"  # named, because the default differs between machines
CLIENT_CPU, SERVER_CPU = 0, 1
CROWDED = ("memory", "crowd")  # tests with thousands of open connections
LIFETIME = "60"  # s after which a server ends by itself


def run(*command):
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def pinned(cpu, command):
    """The command on one processor, where there is more than one."""
    if os.cpu_count() < 2 or not shutil.which("taskset"):
        return command
    return ["taskset", "-c", str(cpu), *command]


def end(process):
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(3)
    if process.poll() is None:
        process.kill()
    process.wait()


def wait_for(process):
    """Until the server accepts a connection; its own words if it ended."""
    for _ in range(200):
        if process.poll() is not None:
            sys.exit("the server ended: " + process.stderr.read())
        with contextlib.suppress(OSError), socket.create_connection((SERVER, ECHO_PORT), timeout=0.5):
            return
        time.sleep(0.02)
    sys.exit(f"{SERVER} does not accept connections")


def set_up(inside, device, address):
    """Address, link and congestion control of one end, by a command line that begins with `inside`.

    The route chooses the congestion control: namespaces may not choose one that the machine's administrator restricts.
    """
    run(*inside, "ip", "address", "add", address + "/24", "dev", device)
    run(*inside, "ip", "link", "set", device, "up")
    run(*inside, "ip", "route", "replace", "10.77.0.0/24", "dev", device, "proto", "kernel", "scope", "link",
        "src", address, "congctl", KERNEL_CONGESTION_CONTROL)


def set_up_client(device):
    set_up([], device, CLIENT)
    for source in SOURCES:
        run("ip", "address", "add", source + "/32", "dev", device)


class Tap:
    """A program on a tap of MTU 1500, the kernel of this namespace at the other end.

    `command` is what to run; `sleepy` is appended when client and server share a processor, where spinning would only
    keep the other from running. `leave_out` and `only` name tests.
    """

    def __init__(self, name, command, sleepy=(), leave_out=(), only=None):
        self.name, self.command, self.sleepy, self.leave_out, self.only = name, command, list(sleepy), leave_out, only

    def supports(self, test):
        return test.name not in self.leave_out and (self.only is None or test.name in self.only)

    @contextlib.contextmanager
    def server(self, test):
        run("ip", "tuntap", "add", "dev", "bench0", "mode", "tap")
        try:
            set_up_client("bench0")
            command = self.command + (self.sleepy if test.one_processor else [])
            command = pinned(CLIENT_CPU if test.one_processor else SERVER_CPU, command)
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
            try:
                wait_for(process)
                yield process.pid
            finally:
                end(process)
        finally:
            run("ip", "tuntap", "del", "dev", "bench0", "mode", "tap")


class Veth:
    """The kernel at both ends of a veth pair."""

    def __init__(self, name, command, offload):
        self.name, self.command, self.offload = name, command, offload

    def supports(self, test):
        return test.name != "memory"  # the kernel's is not its server's

    @contextlib.contextmanager
    def server(self, test):
        # The far end lives in a namespace of the server's process, and the pair ends with it.
        cpu = CLIENT_CPU if test.one_processor else SERVER_CPU
        command = ["unshare", "-n", "sh", "-c", 'read go; exec "$@"', "sh", *pinned(cpu, self.command)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                   text=True)
        try:
            self.connect(process)
            process.stdin.write("go\n")
            process.stdin.flush()
            wait_for(process)
            yield process.pid
        finally:
            end(process)
            subprocess.run(["ip", "link", "del", "bench0"], stderr=subprocess.DEVNULL)

    def connect(self, process):
        inside = ["nsenter", "-t", str(process.pid), "-n"]
        here = os.readlink("/proc/self/ns/net")
        while os.readlink(f"/proc/{process.pid}/ns/net") == here:
            time.sleep(0.01)
        run("ip", "link", "add", "bench0", "type", "veth", "peer", "name", "bench1", "netns", str(process.pid))
        if not self.offload:
            for prefix, device in ([], "bench0"), (inside, "bench1"):
                run(*prefix, "ethtool", "-K", device, "tso", "off", "gso", "off", "gro", "off")
        set_up(inside, "bench1", SERVER)
        set_up_client("bench0")


def all_targets(sluice, congestion_control, programs):
    """The targets that can run here, best known last column: kernel to kernel. `programs` is a folder of built ones."""
    def program(name):
        return os.path.join(programs, name)

    benchd = [sluice, "benchd", "--dev", "tap:bench0", "--addr", SERVER + "/24", "--cc", congestion_control]
    known = subprocess.run([sluice, "benchd", "--help"], capture_output=True, text=True).stdout
    targets = [Tap("sluice", benchd)]
    if "--no-offload" in known:
        targets.append(Tap("sluice no-offload", benchd + ["--no-offload"]))
    if "--zero-copy" in known:
        targets.append(Tap("sluice zero-copy", benchd + ["--zero-copy"], only=("bulk_in", "bulk_out")))
    if "--blocking" in known:
        targets.append(Tap("sluice blocking", benchd + ["--blocking"], leave_out=CROWDED))
    if os.path.exists(program("lwip-server")):
        targets.append(Tap("lwip", [program("lwip-server"), "bench0", SERVER, LIFETIME], ["poll"]))
    ideal = [program("ideal"), "bench0", SERVER, LIFETIME]
    targets += [
        Tap("ideal", ideal + ["offload"], ["poll"], leave_out=CROWDED),
        Tap("ideal no-copy", ideal + ["offload", "no-copy"], only=("bulk_in", "bulk_out")),
        Tap("ideal keeping", ideal + ["offload", "keep"], only=("bulk_out",)),
        Tap("ideal no-offload", ideal, ["poll"], only=("bulk_in", "bulk_out", "udp_echo")),
        Veth("veth", [program("kernel-server"), LIFETIME], True),
        Veth("veth no-offload", [program("kernel-server"), LIFETIME], False),
    ]
    return targets
