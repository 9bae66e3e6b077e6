#!/usr/bin/env python3
"""sluice against the Linux kernel and real programs, over taps in network namespaces that this script makes and that end
with it. Each case is a function; it fails by an exception. Output in TAP, so that each case counts as one test."""
import contextlib
import hashlib
import json
import os
import pathlib
import re
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
import namespaces

SLUICE, FAST_OPEN_PEER = sys.argv[1:3]
KERNEL, STACK = "10.0.0.1", "10.0.0.2"
LONG = 120  # s: far more than any case needs; the limit of a hanging program


class Skip(Exception):
    pass


def need(*programs):
    for program in programs:
        if not shutil.which(program):
            raise Skip(f"{program} is not installed")


def run(*command, ok=True, **more):
    done = subprocess.run(command, capture_output=True, text=more.pop("text", True), timeout=LONG, **more)
    if ok and done.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, command))}: exit {done.returncode}: {done.stdout[-500:]}\n# {done.stderr[-500:]}")
    return done


def check(condition, message):
    if not condition:
        raise AssertionError(message)


@contextlib.contextmanager
def background(*command, **more):
    more.setdefault("stdout", subprocess.DEVNULL)
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, **more)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(5)
        if process.poll() is None:
            process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            with contextlib.suppress(Exception):
                stream.close()


@contextlib.contextmanager
def interface(name="tap0", kind="tap", mtu=1500, address=KERNEL):
    run("ip", "tuntap", "add", "dev", name, "mode", kind)
    try:
        run("ip", "link", "set", name, "mtu", str(mtu))
        run("ip", "address", "add", address + "/24", "dev", name)
        run("ip", "link", "set", name, "up")
        yield
    finally:
        run("ip", "tuntap", "del", "dev", name, "mode", kind)


def options(device="tap:tap0", address=STACK):
    return ["--dev", device, "--addr", address + "/24"]


def answers(host=STACK, *more, inside=(), when="ever"):
    for _ in range(50):
        if run(*inside, "ping", "-c1", "-W1", *more, host, ok=False).returncode == 0:
            return
        time.sleep(0.1)
    raise AssertionError(f"{host} does not answer, {when}")


def listening(port, *inside):
    """A program on the kernel's sockets has come so far; `inside`: how to run a command where it is."""
    for _ in range(500):
        if run(*inside, "ss", "-Htln", f"sport = :{port}").stdout:
            return
        time.sleep(0.05)
    raise AssertionError(f"nobody listens at port {port}")


@contextlib.contextmanager
def another_namespace():
    """Yields the command prefix that runs inside it."""
    holder = subprocess.Popen(["unshare", "-n", "sh", "-c", f"echo; exec sleep {LONG}"], stdout=subprocess.PIPE)
    try:
        holder.stdout.readline()  # it is there
        yield holder.pid, ["nsenter", "-t", str(holder.pid), "-n"]
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()


@contextlib.contextmanager
def server(*arguments, device="tap:tap0", **more):
    with background(SLUICE, arguments[0], *options(device), *arguments[1:], **more) as process:
        answers()
        yield process


def file_of(folder, name, size):
    path = pathlib.Path(folder) / name
    path.write_bytes(os.urandom(size))
    return path, hashlib.sha256(path.read_bytes()).hexdigest()


# --- cases ---------------------------------------------------------------------------------------------------------------

def kernel_pings_stack(folder):
    with interface(), server("echo"):
        out = run("ping", "-c5", "-i0.05", "-s1400", STACK).stdout
        check("5 received, 0% packet loss" in out, out)


def kernel_pings_with_fragments(folder):
    with interface(), server("echo"):
        out = run("ping", "-c3", "-i0.05", "-s8000", STACK).stdout
        check("3 received" in out, out)


def stack_pings_kernel(folder):
    with interface():
        out = run(SLUICE, "ping", *options(), "-c3", "-i0.05", KERNEL).stdout
        check("3 packets transmitted, 3 received, 0% packet loss" in out, out)
        check(re.search(r"rtt min/avg/max/mdev = [\d.]+/[\d.]+/[\d.]+/[\d.]+ ms", out), out)
        silent = run(SLUICE, "ping", *options(), "-c1", "-W1", "10.0.0.77", ok=False)
        check(silent.returncode == 1, f"exit {silent.returncode}")
        silent = run(SLUICE, "ping", *options(), "-c1", "-W4", "10.0.0.77", ok=False)
        check("From 10.0.0.2 icmp_seq=1 Destination Host Unreachable" in silent.stdout, silent.stdout)


def arping_both_ways(folder):
    need("arping")
    with interface():
        def replies(*arguments):
            out = run(SLUICE, "arping", *options(), *arguments, KERNEL).stdout
            check(re.search(r"reply from 10.0.0.1 \[[0-9a-f:]{17}\] +[\d.]+ ms", out), out)
            return int(re.search(r"(\d+) requests, (\d+) replies", out)[2])
        # The first may be lost: the kernel says that the interface is running a moment before it can send.
        check(replies("-c", "4") >= 3, "it does not go on until its count")
        check(replies("-f") == 1, "it does not end at the first reply")
        silent = run(SLUICE, "arping", *options(), "-c", "2", "10.0.0.77", ok=False)
        check(silent.returncode == 1 and "2 requests, 0 replies" in silent.stdout, silent.stdout)
        with server("echo"):
            out = run("arping", "-c2", "-I", "tap0", STACK).stdout
            check("Received 2 response" in out or "bytes from" in out, out)


def curl_one_page(folder):
    need("curl")
    (pathlib.Path(folder) / "index.html").write_text("<h1>page</h1>\n")
    with interface(), server("httpd", folder):
        check(run("curl", "-sS", f"http://{STACK}/").stdout == "<h1>page</h1>\n", "page differs")
        head = run("curl", "-sSI", f"http://{STACK}/").stdout
        check("200 OK" in head and "Content-Length: 14" in head, head)
        check(run("curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", f"http://{STACK}/none").stdout == "404", "not 404")
        outside = run("curl", "-sS", "--path-as-is", "-o", "/dev/null", "-w", "%{http_code}", f"http://{STACK}/../../etc/passwd").stdout
        check(outside == "404", "a path outside the folder was served")
        twice = run("curl", "-sS", "-o", "/dev/null", "-o", "/dev/null", "-w", "%{num_connects} ", f"http://{STACK}/", f"http://{STACK}/").stdout
        check(twice.split() == ["1", "0"], f"no keep-alive: {twice}")


def curl_ten_parallel(folder):
    need("curl")
    path, digest = file_of(folder, "big", 64 << 20)
    with interface(), server("httpd", folder):
        clients = [subprocess.Popen(["curl", "-sS", "-o", f"{folder}/copy{i}", f"http://{STACK}/big"]) for i in range(10)]
        for client in clients:
            check(client.wait(LONG) == 0, "curl failed")
        for i in range(10):
            check(hashlib.sha256(pathlib.Path(f"{folder}/copy{i}").read_bytes()).hexdigest() == digest, f"copy {i} differs")


def wrk_sixty_four(folder):
    need("wrk")
    with interface(), server("httpd"):
        out = run("wrk", "--timeout", "30s", "-c64", "-t2", "-d3s", f"http://{STACK}/").stdout
        check("Socket errors" not in out and "Non-2xx" not in out, out)
        check(float(re.search(r"Requests/sec:\s+([\d.]+)", out)[1]) > 0, out)


@contextlib.contextmanager
def behind_a_bridge():
    """The stack's tap and one end of a veth on a bridge; yields the command prefix that runs inside a further namespace
    with the other end. The bridge's side of the veth offers no offload, so the kernel has to finish what the stack left."""
    with another_namespace() as (pid, inside):
        try:
            run("ip", "link", "add", "br0", "type", "bridge")
            run("ip", "tuntap", "add", "dev", "tap0", "mode", "tap")
            run("ip", "link", "add", "veth0", "type", "veth", "peer", "name", "veth1", "netns", str(pid))
            run("ethtool", "-K", "veth0", "tx", "off", "sg", "off", "tso", "off", "gso", "off")
            for name in ("tap0", "veth0"):
                run("ip", "link", "set", name, "master", "br0", "up")
            run("ip", "link", "set", "br0", "up")
            run(*inside, "ip", "address", "add", KERNEL + "/24", "dev", "veth1")
            run(*inside, "ip", "link", "set", "veth1", "up")
            yield inside
        finally:
            run("ip", "link", "del", "veth0", ok=False)
            run("ip", "link", "del", "br0", ok=False)
            run("ip", "tuntap", "del", "dev", "tap0", "mode", "tap", ok=False)


def checksums_beyond_a_bridge(folder):
    need("ethtool", "curl", "nsenter")
    path, digest = file_of(folder, "file", 8 << 20)
    with behind_a_bridge() as inside:
        with background(SLUICE, "httpd", *options(), folder):
            answers(inside=inside)
            run(*inside, "curl", "-sS", "-o", f"{folder}/copy", f"http://{STACK}/file")
            check(hashlib.sha256(pathlib.Path(f"{folder}/copy").read_bytes()).hexdigest() == digest, "the copy differs")
        with background(*inside, sys.executable, "-m", "http.server", "-b", KERNEL, "8000", cwd=folder):
            listening(8000, *inside)
            run(SLUICE, "get", *options(), f"http://{KERNEL}:8000/file", "-o", f"{folder}/got", "-q")
            check(hashlib.sha256(pathlib.Path(f"{folder}/got").read_bytes()).hexdigest() == digest, "the copy differs")
        with background(SLUICE, "echo", *options()):
            answers(inside=inside)
            script = (f"import socket; s=socket.socket(type=socket.SOCK_DGRAM); s.settimeout(5); s.connect(('{STACK}',7)); "
                      "s.send(b'a'); assert s.recv(9)==b'a'; s.send(b'x'*1400); assert len(s.recv(2000))==1400")
            run(*inside, sys.executable, "-c", script)


@contextlib.contextmanager
def veth(*offload_off):
    """One end of a veth here, without addresses; yields the command prefix that runs inside the namespace of the other.
    `offload_off`: features that neither end shall have."""
    with another_namespace() as (pid, inside):
        try:
            run("ip", "link", "add", "veth0", "type", "veth", "peer", "name", "veth1", "netns", str(pid))
            if offload_off:
                features = [word for name in offload_off for word in (name, "off")]
                run("ethtool", "-K", "veth0", *features)
                run(*inside, "ethtool", "-K", "veth1", *features)
            run("ip", "link", "set", "veth0", "up")
            run(*inside, "ip", "address", "add", KERNEL + "/24", "dev", "veth1")
            run(*inside, "ip", "link", "set", "veth1", "up")
            yield inside
        finally:
            run("ip", "link", "del", "veth0", ok=False)


def both_roles_on_an_interface(folder, inside, device, *more):
    """A file each way between the stack on `device` and the kernel inside."""
    path, digest = file_of(folder, "file", 8 << 20)

    def same(name):
        check(hashlib.sha256(pathlib.Path(f"{folder}/{name}").read_bytes()).hexdigest() == digest, f"{device}: {name} differs")
    with background(SLUICE, "httpd", *more, *options(device), folder):
        answers(inside=inside)
        run(*inside, "curl", "-sS", "-o", f"{folder}/copy", f"http://{STACK}/file")
        same("copy")
    with background(*inside, sys.executable, "-m", "http.server", "-b", KERNEL, "8000", cwd=folder):
        listening(8000, *inside)
        done = run(SLUICE, "get", *more, *options(device), "--stats", f"http://{KERNEL}:8000/file", "-o", f"{folder}/got", "-q")
        same("got")
    return done.stdout + done.stderr


def frames_received(statistics):
    return int(re.search(r"(\d+)  link\.rx_frames", statistics)[1])


def on_a_packet_socket(folder):
    need("curl", "nsenter")
    with veth() as inside:
        received = frames_received(both_roles_on_an_interface(folder, inside, "packet:veth0"))
        check(received < 3000, f"{received} frames for 8 MiB: segments did not come whole")
        both_roles_on_an_interface(folder, inside, "packet:veth0", "--no-offload")
        run(*inside, "ip", "link", "set", "veth1", "down")
        refused = run(SLUICE, "ping", *options("packet:veth0"), "-c1", "-W1", KERNEL, ok=False)
        check(refused.returncode == 1, f"exit {refused.returncode} without a carrier")
    refused = run(SLUICE, "ping", *options("packet:none0"), "-c1", KERNEL, ok=False)
    check("no interface 'none0'" in refused.stderr, refused.stderr)


def on_libpcap(folder):
    need("curl", "nsenter", "ethtool")
    with veth("tx", "tso", "gso", "gro") as inside:
        received = frames_received(both_roles_on_an_interface(folder, inside, "live:veth0"))
        check(received > 5000, f"{received} frames for 8 MiB: more than the MTU in some")


def without_offload(folder):
    need("curl")
    path, digest = file_of(folder, "file", 16 << 20)
    with interface(), background(SLUICE, "httpd", "--no-offload", *options(), folder):
        answers()
        run("curl", "-sS", "-o", f"{folder}/copy", f"http://{STACK}/file")
        check(hashlib.sha256(pathlib.Path(f"{folder}/copy").read_bytes()).hexdigest() == digest, "the copy differs")
    with interface(kind="tun", name="tun0"), background(SLUICE, "httpd", *options(device="tun:tun0"), folder):
        answers()
        run("curl", "-sS", "-o", f"{folder}/copy", f"http://{STACK}/file")
        check(hashlib.sha256(pathlib.Path(f"{folder}/copy").read_bytes()).hexdigest() == digest, "the copy over tun differs")


def written_in_batches(folder):
    """Through io_uring: all frames arrive, in order, also while the tap is down in between."""
    need("curl")
    path, digest = file_of(folder, "file", 16 << 20)
    with interface():
        refused = run(SLUICE, "ping", *options("tap:tap0,uring"), "--no-offload", "-c1", KERNEL, ok=False)
        if "io_uring: " in refused.stderr:
            raise Skip(refused.stderr.strip())
        with background(SLUICE, "httpd", "--no-offload", *options("tap:tap0,uring"), folder):
            answers()
            with background("curl", "-sS", "-o", f"{folder}/copy", f"http://{STACK}/file", "--limit-rate", "32M") as client:
                time.sleep(0.2)
                run("ip", "link", "set", "tap0", "down")
                run("ip", "link", "set", "tap0", "up")
                check(client.wait(LONG) == 0, "curl failed")
            check(hashlib.sha256(pathlib.Path(f"{folder}/copy").read_bytes()).hexdigest() == digest, "the copy differs")
            run("curl", "-sS", "-o", f"{folder}/copy", f"http://{STACK}/file")
            check(hashlib.sha256(pathlib.Path(f"{folder}/copy").read_bytes()).hexdigest() == digest, "the copy differs")


def datagrams_joined_by_the_kernel(folder):
    """UDP_SEGMENT on the kernel's side: one send of several datagrams crosses the tap as one frame."""
    with interface(), server("echo"):
        script = ("import socket; s=socket.socket(type=socket.SOCK_DGRAM); s.settimeout(5); "
                  f"s.connect(('{STACK}',7)); s.setsockopt(17,103,1000); s.send(b''.join(bytes([i])*1000 for i in range(5))); "
                  "got=sorted(s.recv(9000) for _ in range(5)); "
                  "assert got==[bytes([i])*1000 for i in range(5)], [len(d) for d in got]")
        run(sys.executable, "-c", script)


def get_from_kernel(folder):
    path, digest = file_of(folder, "file", 16 << 20)
    with interface(), background(sys.executable, "-m", "http.server", "-b", KERNEL, "8000", cwd=folder):
        listening(8000)
        run(SLUICE, "get", *options(), f"http://{KERNEL}:8000/file", "-o", f"{folder}/got", "-q")
        check(hashlib.sha256(pathlib.Path(f"{folder}/got").read_bytes()).hexdigest() == digest, "the copy differs")
        check(run(SLUICE, "get", *options(), f"http://{KERNEL}:8000/none", "-o", "-", ok=False).returncode == 1, "404 is no success")


def get_refused(folder):
    with interface():
        done = run(SLUICE, "get", *options(), f"http://{KERNEL}:9/", ok=False)
        check(done.returncode == 1 and "Connection refused" in done.stderr, done.stderr)


def curl_refused(folder):
    need("curl")
    with interface(), server("echo"):
        done = run("curl", "-sS", f"http://{STACK}:81/", ok=False)
        check(done.returncode == 7, f"curl says {done.returncode}: {done.stderr}")


def nc_to_kernel(folder):
    need("nc")
    data = os.urandom(3 << 20)
    with interface(), open(f"{folder}/out", "wb") as out, background("nc", "-l", "-N", KERNEL, "7000", stdin=subprocess.PIPE, stdout=out) as kernel:
        listening(7000)
        kernel.stdin.write(b"greeting\n")
        kernel.stdin.close()
        done = run(SLUICE, "nc", *options(), KERNEL, "7000", input=data, text=False)
        check(done.stdout == b"greeting\n", f"got {done.stdout[:50]}")
        check(kernel.wait(LONG) == 0 and pathlib.Path(f"{folder}/out").read_bytes() == data, "the kernel's nc got other bytes")


def nc_from_kernel(folder):
    need("nc")
    data = os.urandom(3 << 20)
    with interface(), open(f"{folder}/out", "wb") as out, background(SLUICE, "nc", *options(), "-l", "7000", stdin=subprocess.PIPE, stdout=out) as ours:
        answers()
        ours.stdin.write(b"greeting\n")
        ours.stdin.close()
        done = run("nc", "-N", STACK, "7000", input=data, text=False)
        check(done.stdout == b"greeting\n", f"got {done.stdout[:50]}")
        check(ours.wait(LONG) == 0 and pathlib.Path(f"{folder}/out").read_bytes() == data, "our nc got other bytes")


def nc_udp(folder):
    import socket
    with interface():
        listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        listener.bind((KERNEL, 7001))
        listener.settimeout(10)
        run(SLUICE, "nc", *options(), "-u", "-w", "4", KERNEL, "7001", input="one datagram\n")
        check(listener.recv(100) == b"one datagram\n", "the datagram did not arrive")


def udp_echo_large(folder):
    """A datagram of 20000 bytes: fragments both ways."""
    import socket
    with interface(), server("echo", "-p", "7"):
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        s.settimeout(5)
        data = os.urandom(20000)
        s.sendto(data, (STACK, 7))
        check(s.recv(65536) == data, "the echo differs")
        s.connect((STACK, 9))
        try:
            for _ in range(100):
                s.send(b"x")
                time.sleep(0.1)
            raise AssertionError("a closed port drew no error")
        except ConnectionRefusedError:
            pass


def udp_echo_burst(folder):
    """Bursts of datagrams, alike and not: each comes back whole, those from one burst in their order."""
    import socket
    with interface(), server("benchd"):
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        s.settimeout(5)
        s.connect((STACK, 5004))
        for sizes in [64] * 40, [1000] * 40, [64, 64, 32, 64, 1472, 1472, 1, 64, 64] * 4:
            burst = [os.urandom(size) for size in sizes]
            for data in burst:
                s.send(data)
            check([s.recv(65536) for _ in burst] == burst, f"the echo of {sizes[:9]} differs")


def half_close(folder):
    """The kernel closes its side first; the echo of all it sent still arrives."""
    import socket
    with interface(), server("echo", "-p", "7"):
        s = socket.create_connection((STACK, 7), timeout=10)
        data = os.urandom(200_000)
        s.sendall(data)
        s.shutdown(socket.SHUT_WR)
        got = b""
        while part := s.recv(65536):
            got += part
        check(got == data, f"{len(got)} of {len(data)} bytes came back")


def reset_by_kernel(folder):
    """Connections that end in RST leave the server serving."""
    import socket
    import struct
    with interface(), server("echo", "-p", "7"):
        for _ in range(20):
            s = socket.create_connection((STACK, 7), timeout=10)
            s.sendall(b"x" * 1000)
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            s.close()
        s = socket.create_connection((STACK, 7), timeout=10)
        s.sendall(b"still there")
        check(s.recv(100) == b"still there", "no echo after resets")


def over_tun(folder):
    need("curl")
    with interface("tun0", "tun"), server("httpd", device="tun:tun0"):
        check(len(run("curl", "-sS", f"http://{STACK}/bytes/5000000").stdout) == 5_000_000, "size differs")


def other_mtus(folder):
    need("curl")
    for mtu in (576, 9000):
        with interface(mtu=mtu), server("httpd"):
            check(len(run("curl", "-sS", f"http://{STACK}/bytes/3000000").stdout) == 3_000_000, f"MTU {mtu}: size differs")


def over_a_bad_link(folder):
    need("curl")
    path, digest = file_of(folder, "file", 1 << 20)
    with interface(), server("httpd", "--impair", "loss=3%,delay=2ms,reorder=2%:3ms,duplicate=1%", "--seed", "1", folder):
        run("curl", "-sS", "-o", f"{folder}/got", f"http://{STACK}/file")
        check(hashlib.sha256(pathlib.Path(f"{folder}/got").read_bytes()).hexdigest() == digest, "the copy differs")


@contextlib.contextmanager
def two_taps_on_a_bridge():
    """tap0 and tap1, the kernel's bridge between them."""
    with contextlib.ExitStack() as stack:
        for name in ("tap0", "tap1"):
            run("ip", "tuntap", "add", "dev", name, "mode", "tap")
            stack.callback(run, "ip", "tuntap", "del", "dev", name, "mode", "tap")
        if run("ip", "link", "add", "br0", "type", "bridge", ok=False).returncode != 0:
            raise Skip("this kernel has no bridge")
        stack.callback(run, "ip", "link", "del", "br0")
        for name in ("tap0", "tap1"):
            run("ip", "link", "set", name, "master", "br0", "up")
        run("ip", "link", "set", "br0", "type", "bridge", "forward_delay", "0")
        run("ip", "link", "set", "br0", "up")
        yield


def reached(*client_and_host):
    """By a stack of ours, as soon as it is there."""
    check(any(run(SLUICE, "ping", *client_and_host, "-c1", ok=False).returncode == 0 for _ in range(50)), "no answer")


def perf_between_two(folder):
    with two_taps_on_a_bridge(), background(SLUICE, "perf", *options("tap:tap0", "10.0.0.3")):
        client = options("tap:tap1", "10.0.0.4")
        reached(*client, "10.0.0.3")
        for extra in ([], ["-R"], ["-P", "4"], ["-u", "-b", "20M"], ["-u", "-b", "5M", "-P", "4"]):
            out = json.loads(run(SLUICE, "perf", *client, "-t", "1", "--json", *extra, "10.0.0.3").stdout)
            check(out["end"]["sum_received"]["bits_per_second"] > 1e6, f"{extra}: {out['end']}")


# What an iperf3 can be asked for, and what has to be in its or our report of it.
PERF_CASES = [[], ["-R"], ["--bidir"], ["-P", "4"], ["-n", "20M"], ["-n", "20M", "-R"], ["-l", "1000"],
              ["-u", "-b", "20M"], ["-u", "-b", "20M", "-R"], ["-u", "-b", "5M", "--bidir", "-P", "2"],
              ["-u", "-b", "20M", "-n", "1M"], ["-u", "-b", "5M", "-l", "9000"]]


def check_perf(report, extra):
    """A report in JSON, of iperf3 or of sluice perf."""
    end = report["end"]
    streams = int(extra[extra.index("-P") + 1]) if "-P" in extra else 1
    streams *= 2 if "--bidir" in extra else 1
    check("error" not in report, f"{extra}: {report.get('error')}")
    check(len(report["start"]["connected"]) == len(end["streams"]) == streams, f"{extra}: {len(end['streams'])} streams")
    for way in [""] + (["_bidir_reverse"] if "--bidir" in extra else []):
        sent, received = end["sum_sent" + way]["bytes"], end["sum_received" + way]["bytes"]
        check(0 < received <= sent, f"{extra}{way}: {sent} bytes sent, {received} received")
        if "-n" in extra:
            check(sent >= (1 << 20) * int(extra[extra.index("-n") + 1][:-1]), f"{extra}: {sent} bytes sent")
        if "-u" in extra:
            check(0 <= end["sum" + way]["lost_packets"] < end["sum" + way]["packets"], f"{extra}: {end['sum' + way]}")


def iperf3_measures_us(folder):
    need("iperf3")
    with interface(), server("perf"):
        for extra in PERF_CASES:
            time_limit = [] if "-n" in extra else ["-t", "1"]
            out = run("iperf3", "-c", STACK, "-J", *time_limit, *extra).stdout
            check_perf(json.loads(out[out.find("\n{") + 1:]), extra)  # there may be a warning before the object
        omitting = json.loads(run("iperf3", "-c", STACK, "-J", "-t", "1", "-O", "1").stdout)["end"]
        check(0.9 < omitting["sum_received"]["seconds"] < 1.5, f"what is omitted counts: {omitting['sum_received']}")


def we_measure_iperf3(folder):
    need("iperf3")
    with interface(), background("iperf3", "-s"):
        listening(5201)
        for extra in PERF_CASES:
            time_limit = [] if "-n" in extra else ["-t", "1"]
            done = run(SLUICE, "perf", *options(), "--json", *time_limit, *extra, KERNEL)
            check_perf(json.loads(done.stdout), extra)
        text = run(SLUICE, "perf", *options(), "-t", "1", KERNEL).stdout
        check(re.search(r"\[  1\]   0.00-1.\d\d   sec +[\d.]+ [KMG]?Bytes +[\d.]+ [KMG]?bits/sec +receiver", text), text)
        refused = run(SLUICE, "perf", *options(), "-p", "5299", KERNEL, ok=False)
        check(refused.returncode == 1 and "Connection refused" in refused.stderr, refused.stderr)


def perf_serves_one_at_a_time(folder):
    """A second client is turned away, nonsense does no harm, and with -1 the server ends after one test."""
    need("iperf3")
    import socket
    with interface(), server("perf", "-1") as ours:
        for nonsense in (b"GET / HTTP/1.0\r\n\r\n", b"x" * 36 + b"\0" + b"\xff\xff\xff\xff"):
            with socket.create_connection((STACK, 5201), timeout=10) as s:
                s.sendall(nonsense[:37])
                if len(nonsense) > 37:
                    check(s.recv(1) == b"\x09", "no state after a cookie")
                    with socket.create_connection((STACK, 5201), timeout=10) as second:
                        second.sendall(b"y" * 36 + b"\0")
                        check(second.recv(1) == b"\xff", "a second client was not turned away")
                    s.sendall(nonsense[37:])
                    check(s.recv(1) == b"", "a message of 4 GiB was accepted")
        check(ours.wait(10) == 0, "the server goes on after one test")
    with interface(), server("perf", "-1") as ours:
        run("iperf3", "-c", STACK, "-t", "1")
        check(ours.wait(10) == 0, "the server goes on after one test")


def get_from_nginx(folder):
    need("nginx")
    path, digest = file_of(folder, "file", 8 << 20)
    pathlib.Path(folder).chmod(0o755)
    config = pathlib.Path(folder) / "nginx.conf"
    config.write_text(f"""daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 64; }}
http {{
  access_log off; client_body_temp_path {folder}/1; proxy_temp_path {folder}/2; fastcgi_temp_path {folder}/3;
  uwsgi_temp_path {folder}/4; scgi_temp_path {folder}/5;
  server {{ listen {KERNEL}:8080; root {folder}; location /moved {{ return 301 /file; }} }}
}}
""")
    with interface(), background("nginx", "-p", folder, "-c", str(config), "-e", f"{folder}/error.log"):
        listening(8080)
        run(SLUICE, "get", *options(), f"http://{KERNEL}:8080/file", "-o", f"{folder}/got", "-q")
        check(hashlib.sha256(pathlib.Path(f"{folder}/got").read_bytes()).hexdigest() == digest, "the copy differs")
        check(run(SLUICE, "get", *options(), f"http://{KERNEL}:8080/none", "-o", "-", ok=False).returncode == 1, "404 is no success")


def nc_udp_listen(folder):
    """The kernel's nc sends datagrams; ours shows them and answers."""
    need("nc")
    with interface(), background(SLUICE, "nc", *options(), "-u", "-l", "7002", stdin=subprocess.PIPE, stdout=subprocess.PIPE) as ours:
        answers()
        ours.stdin.write(b"the answer\n")
        ours.stdin.flush()
        with background("nc", "-u", STACK, "7002", stdin=subprocess.PIPE, stdout=subprocess.PIPE) as theirs:
            theirs.stdin.write(b"a question\n")
            theirs.stdin.flush()
            check(ours.stdout.readline() == b"a question\n", "the datagram did not arrive")
            check(theirs.stdout.readline() == b"the answer\n", "no answer")


def capture_as_interface(folder):
    """What a kernel sent once, replayed from a file, draws the same answers into another file."""
    need("tcpdump")
    mac = "02:00:00:00:00:22"
    with interface(), server("echo", "--mac", mac, "--capture", f"{folder}/all.pcap"):
        run("ping", "-c4", "-i0.05", "-s200", STACK)
    run("tcpdump", "-r", f"{folder}/all.pcap", "-w", f"{folder}/in.pcap", f"not ether src {mac}")

    def replies(name):
        shown = run("tcpdump", "-n", "-t", "-r", f"{folder}/{name}", f"ether src {mac} and icmp[0]=0").stdout
        return re.findall(r"10.0.0.2 > 10.0.0.1: ICMP echo reply, id \d+, seq \d+, length \d+", shown)
    check(len(replies("all.pcap")) >= 4, "the kernel's ping was not captured")
    run(SLUICE, "echo", *options(f"pcap:{folder}/in.pcap,{folder}/out.pcap"), "--mac", mac)
    check(replies("out.pcap") == replies("all.pcap"), f"{replies('out.pcap')} instead of {replies('all.pcap')}")


def capture_is_sound(folder):
    """What we capture, tshark reads without a complaint about a checksum."""
    need("tshark", "curl")
    for offload, at_least in (["--no-offload"], 100), ([], 5):  # frames of the MTU, or segments of up to 64 KiB
        capture = f"{folder}/capture.pcap"
        with interface(), server("httpd", *offload, "--capture", capture):
            run("curl", "-sS", "-o", "/dev/null", f"http://{STACK}/bytes/200000")
        out = run("tshark", "-r", capture, "-o", "tcp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE", "-Y",
                  "tcp.checksum.status==0 || ip.checksum.status==0 || _ws.malformed").stdout
        check(out == "", out)
        total = run("tshark", "-r", capture, "-Y", f"ip.src=={STACK} && tcp").stdout
        check(len(total.splitlines()) > at_least, "hardly anything captured")


def ss_beside_the_kernels(folder):
    """A download in progress, seen from both ends: our ss and the kernel's show the same connection."""
    need("ss", "curl")
    control = f"{folder}/control"
    with interface(), server("httpd", "--control", control):
        slow = ["--limit-rate", "100k", "-sS", "-o", "/dev/null", f"http://{STACK}/bytes/100000000"]
        with background("curl", *slow):
            def until(what, *command):
                for _ in range(100):
                    lines = run(*command).stdout.splitlines()[1:]
                    for line, below in zip(lines, lines[1:]):  # earlier cases may have left some that are ending
                        if line.startswith("ESTAB") and what(line.split()):
                            return line.split(), below
                    time.sleep(0.1)
                raise AssertionError(f"{command}: no such connection: {lines}")
            ours, details = until(lambda c: int(c[2]) > 0, SLUICE, "ss", "-tin", "--control", control)  # data waits
            until(lambda theirs: theirs[4:2:-1] == ours[3:5], "ss", "-tin")
            # No snd_wnd: the slow reader's window may be closed, and both tools leave a zero out.
            for word in (r"wscale:\d+,\d+", r"rto:\d+", r"rtt:[\d.]+/[\d.]+", r"mss:1448", r"cwnd:\d+", r"bytes_sent:\d+"):
                check(re.search(word, details), f"{word}: {details}")
        neighbors = run(SLUICE, "ip", "neigh", "--control", control).stdout
        check(re.match(r"10\.0\.0\.1 dev sl1 lladdr [0-9a-f:]{17} ", neighbors), neighbors)
        counters = json.loads(run(SLUICE, "stat", "--json", "--control", control).stdout)
        check(counters["counters"]["tcp.passive_opens"] == 1, str(counters))


def marks_are_counted(folder):
    """Accurate ECN between two sluices on a bridge: the sender's own link marks, the receiver's count comes back."""
    control = f"{folder}/control"
    with two_taps_on_a_bridge():
        near, far = options("tap:tap1", "10.0.0.4"), options("tap:tap0", "10.0.0.3")
        with background(SLUICE, "perf", *far, "--ecn-answer", "accurate"):
            reached(*near, "10.0.0.3")
            with background(SLUICE, "perf", *near, "--control", control, "--ecn", "accurate", "--impair", "mark=1%,rate=50mbit",
                            "-t", "10", "10.0.0.3"):
                for _ in range(100):
                    out = run(SLUICE, "ss", "-tin", "--control", control, ok=False).stdout
                    counters = run(SLUICE, "stat", "--json", "--control", control, ok=False).stdout
                    reductions = json.loads(counters)["counters"].get("tcp.ce_mark_reductions", 0) if counters else 0
                    if "accecn" in out and reductions > 3:
                        return
                    time.sleep(0.1)
    raise AssertionError(f"{reductions} reductions: {out}")


def marks_agreed(folder):
    """ECN, asked for by the kernel and asked for by us: both ends say that they have agreed."""
    need("ss", "curl", "iperf3")
    control = f"{folder}/control"

    def until(*command):
        for _ in range(100):
            if re.search(r"\becn\b", run(*command).stdout):
                return
            time.sleep(0.1)
        raise AssertionError(f"{command}: no ecn: {run(*command).stdout}")

    setting = pathlib.Path("/proc/sys/net/ipv4/tcp_ecn")
    before = setting.read_text()
    try:
        setting.write_text("1")
        with interface(), server("httpd", "--control", control):
            with background("curl", "--limit-rate", "1M", "-sS", "-o", "/dev/null", f"http://{STACK}/bytes/100000000"):
                until(SLUICE, "ss", "-tin", "--control", control)
                until("ss", "-tino")
        setting.write_text("2")
        for asked in ("classic", "accurate"):  # a kernel that cannot count answers as RFC 3168 does
            with interface(), background("iperf3", "-s", "-1", "-B", KERNEL):
                listening(5201)
                with background(SLUICE, "perf", *options(), "--control", control, "--ecn", asked, "-t", "5", KERNEL):
                    until("ss", "-tino")
                    until(SLUICE, "ss", "-tin", "--control", control)
    finally:
        setting.write_text(before)


def reasons_beside_packets(folder):
    """A capture of a stack under bad segments: tshark shows why each was dropped, at that segment."""
    need("tshark", "nc")
    capture = f"{folder}/capture.pcapng"
    with interface(), server("httpd", "--capture", capture):
        run("nc", "-z", "-w2", STACK, "81", ok=False)
    out = run("tshark", "-r", capture, "-Y", "tcp.dstport==81", "-T", "fields", "-e", "frame.comment").stdout
    check(out.startswith("dropped: tcp.no_port"), out)
    lost = run("tshark", "-r", capture, "-Y", "_ws.malformed").stdout
    check(lost == "", lost)


def restart_after_kill(folder):
    """Killed in the middle and started again: the next connection works."""
    need("curl")
    with interface():
        for _ in range(3):
            with server("httpd") as process:
                with background("curl", "-sS", "-o", "/dev/null", f"http://{STACK}/bytes/1000000000"):
                    time.sleep(0.2)
                    process.kill()
        with server("httpd"):
            check(len(run("curl", "-sS", f"http://{STACK}/bytes/1000").stdout) == 1000, "size differs")



# The first connection brings the cookie, the others carry their question in the SYN: both ends say so.
QUESTION = b"a question that fits into a SYN"
SYN_DATA = 32  # of tcpi_options


def syn_data_acked(connection):
    return bool(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 8)[5] & SYN_DATA)


def fast_open_by_kernel(bits):
    path = pathlib.Path("/proc/sys/net/ipv4/tcp_fastopen")
    try:
        path.write_text(str(bits))
    except OSError as error:
        raise Skip(f"tcp_fastopen of this namespace cannot be set: {error}") from error


def fast_open_from_kernel(folder):
    fast_open_by_kernel(1)
    with interface(), background(FAST_OPEN_PEER, "server", "tap:tap0", STACK + "/24", stdout=subprocess.PIPE, text=True) as peer:
        answers()
        kernel = []
        for _ in range(3):
            with socket.socket() as connection:
                connection.sendto(QUESTION, socket.MSG_FASTOPEN, (STACK, 7))
                connection.settimeout(LONG)
                check(connection.recv(256) == QUESTION, "another answer")
                kernel.append(syn_data_acked(connection))
        check(kernel == [False, True, True], f"the kernel's client says {kernel}")
        ours = [peer.stdout.readline().strip() for _ in range(3)]
        check(ours == ["0", "1", "1"], f"our server says {ours}")


def fast_open_to_kernel(folder):
    fast_open_by_kernel(3)
    with interface(), socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_FASTOPEN, 16)
        listener.bind((KERNEL, 7))
        listener.listen()
        listener.settimeout(LONG)
        with background(FAST_OPEN_PEER, "client", "tap:tap0", STACK + "/24", KERNEL, stdout=subprocess.PIPE, text=True) as peer:
            kernel = []
            for _ in range(3):
                connection, _ = listener.accept()
                with connection:
                    connection.settimeout(LONG)
                    check(connection.recv(256) == QUESTION, "another question")
                    kernel.append(syn_data_acked(connection))
                    connection.sendall(QUESTION)
            ours = [peer.stdout.readline().strip() for _ in range(3)]
        check(kernel == [False, True, True], f"the kernel's server says {kernel}")
        check(ours == ["0", "1", "1"], f"our client says {ours}")


# RFC 2385, with a kernel that knows the option: struct tcp_md5sig of linux/tcp.h.
TCP_MD5SIG = 14


def give_key(connection, key, address=STACK):
    there = struct.pack("=H", socket.AF_INET) + bytes(2) + socket.inet_aton(address)
    try:
        connection.setsockopt(socket.IPPROTO_TCP, TCP_MD5SIG, struct.pack("=128sBBHI80s", there, 0, 0, len(key), 0, key))
    except OSError as error:
        raise Skip(f"this kernel signs no segments: {error}") from error


def dropped_by(name):
    """How often the kernel has dropped a segment for this reason."""
    names, values = [line.split() for line in pathlib.Path("/proc/net/netstat").read_text().splitlines()[:2]]
    return int(values[names.index(name)])


def both_ways(connection, nc):
    """Megabytes through `connection` of the kernel's and our nc at its other end, in both directions at once."""
    there, back = os.urandom(3 << 20), os.urandom(3 << 20)
    connection.settimeout(LONG)
    received = {}
    work = [threading.Thread(target=lambda: (connection.sendall(there), connection.shutdown(socket.SHUT_WR))),
            threading.Thread(target=lambda: (nc.stdin.write(back), nc.stdin.close())),
            threading.Thread(target=lambda: received.update(nc=nc.stdout.read()))]
    for thread in work:
        thread.start()
    with connection.makefile("rb") as stream:
        received["kernel"] = stream.read()
    for thread in work:
        thread.join()
    check(nc.wait(LONG) == 0, "our nc failed")
    check(received == {"kernel": back, "nc": there}, "other bytes came")


def signed_to_kernel(folder):
    with interface(), socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((KERNEL, 7000))
        listener.listen()
        listener.settimeout(LONG)
        give_key(listener, b"secret")
        before = dropped_by("TCPMD5Failure")
        wrong = run(SLUICE, "nc", *options(), "--md5", "guess", "-z", "-w", "3", KERNEL, "7000", ok=False)
        check(wrong.returncode != 0 and dropped_by("TCPMD5Failure") > before, "the kernel took another key")
        with background(SLUICE, "nc", *options(), "--md5", "secret", KERNEL, "7000", stdin=subprocess.PIPE,
                        stdout=subprocess.PIPE) as ours:
            connection, _ = listener.accept()
            with connection:
                both_ways(connection, ours)


def signed_from_kernel(folder):
    with interface(), background(SLUICE, "nc", *options(), "--md5", "secret", "-l", "7000", stdin=subprocess.PIPE,
                                 stdout=subprocess.PIPE) as ours:
        answers()
        for key in (b"guess", None):  # nothing answers these
            with socket.socket() as connection:
                if key is not None:
                    give_key(connection, key)
                connection.settimeout(2)
                with contextlib.suppress(TimeoutError):
                    connection.connect((STACK, 7000))
                    raise AssertionError(f"our listener took {key}")
        with socket.socket() as connection:
            give_key(connection, b"secret")
            connection.settimeout(LONG)
            connection.connect((STACK, 7000))
            both_ways(connection, ours)


@contextlib.contextmanager
def controlled(folder, *command):
    """A server whose control socket is asked by what is yielded: ip("addr", "add", ...)."""
    control = f"{folder}/control"

    def ip(words, ok=True):
        return run(SLUICE, "ip", *words.split(), "--control", control, ok=ok)
    with server(*command, "--control", control):
        yield ip


def silent(host, *more):
    return run("ping", "-c1", "-W1", *more, host, ok=False).returncode != 0


def changed_while_it_runs(folder):
    """What `sluice ip` changes in a running httpd, the kernel sees."""
    need("curl")
    with interface(), controlled(folder, "httpd") as ip:
        ip("addr add 10.0.0.3/24 dev sl1")
        answers("10.0.0.3", when="though that address was added")
        answers(when="after another address was added")
        check(len(run("curl", "-sS", "http://10.0.0.3/bytes/1000").stdout) == 1000, "nothing is served there")
        ip("addr del 10.0.0.3/24 dev sl1")
        check(silent("10.0.0.3"), "an address that was removed answers")
        answers(when="after another address was removed")

        ip("link set sl1 down")
        check(silent(STACK), "it answers though its link is down")
        ip("link set sl1 up")
        answers(when="though its link is up again")

        ip("link set sl1 address 02:00:00:00:00:77")
        answers(when="with another MAC")
        check("02:00:00:00:00:77" in run("ip", "neigh", "show", STACK).stdout, "the kernel did not hear of the new MAC")

        ip("link set sl1 mtu 600")
        run("ip", "tcp_metrics", "flush", "all", ok=False)
        check(len(run("curl", "-sS", f"http://{STACK}/bytes/100000").stdout) == 100000, "nothing is served with a small MTU")
        check(silent(STACK, "-M", "do", "-s", "1000"), "a frame above the MTU is taken in")
        ip("link set sl1 mtu 1500")
        answers(STACK, "-M", "do", "-s", "1000", when="with its old MTU")


def routes_changed_while_it_runs(folder):
    """The kernel pings from an address beyond the stack's network: it hears an answer while there is a route back."""
    afar = "-I", "10.7.0.1"
    with interface(), controlled(folder, "httpd") as ip:
        run("ip", "address", "add", "10.7.0.1/32", "dev", "lo")
        try:
            check(silent(STACK, *afar), "it answers without a route")
            ip(f"route add default via {KERNEL} dev sl1")
            answers(STACK, *afar, when="with a default route")
            ip("route del default")
            check(silent(STACK, *afar), "it answers after the default route is removed")
            ip(f"route add 10.7.0.0/16 via {KERNEL}")
            answers(STACK, *afar, when="with a route to the network")
            ip("route replace 10.7.0.0/16 via 10.0.0.99")
            check(silent(STACK, *afar), "it answers by a gateway that is not there")
        finally:
            run("ip", "address", "del", "10.7.0.1/32", "dev", "lo")


def neighbors_changed_while_it_runs(folder):
    """A neighbour at a wrong MAC address is lost, one at its own found, and what was learned is learned again."""
    with interface(), controlled(folder, "httpd") as ip:
        kernel = re.search(r"link/ether (\S+)", run("ip", "link", "show", "tap0").stdout)[1]
        ip(f"neigh replace {KERNEL} lladdr 02:00:00:00:00:99 dev sl1")
        check(silent(STACK), "it answers a wrong neighbour")
        check("PERMANENT" in ip("neigh").stdout, ip("neigh").stdout)
        ip(f"neigh replace {KERNEL} lladdr {kernel} dev sl1")
        answers(when="with the right neighbour")
        refused = ip(f"neigh add {KERNEL} lladdr {kernel} dev sl1", ok=False)
        check(refused.returncode == 1 and "`ip neigh replace` changes it" in refused.stderr, refused.stderr)
        ip(f"neigh del {KERNEL} dev sl1")
        check("PERMANENT" not in ip("neigh").stdout, ip("neigh").stdout)
        answers(when="when its neighbour is to be learned")
        check(re.search(r"lladdr \S+ (REACHABLE|STALE|DELAY|PROBE)", ip("neigh").stdout), "it is not learned again")
        check(any(ip("neigh flush dev sl1") and ip("neigh").stdout == "" for _ in range(5)), "what was learned outlives a flush")


def received_from_the_stack():
    """Bytes in frames."""
    return json.loads(run("ip", "-s", "-j", "link", "show", "tap0").stdout)[0]["stats64"]["rx"]["bytes"]


def a_connection_survives_its_address(folder):
    """Its address is away for a second in the middle of a download, then back: the transfer goes on."""
    need("curl")
    path, digest = file_of(folder, "big", 32 << 20)
    with interface(), controlled(folder, "httpd", folder) as ip, socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 256 << 10)  # most of it waits at the server
        client.settimeout(LONG)
        client.connect((STACK, 80))
        client.sendall(b"GET /big HTTP/1.0\r\n\r\n")
        data = bytearray()
        while len(data) < 4 << 20:
            data += client.recv(65536)
        ip(f"addr del {STACK}/24 dev sl1")
        time.sleep(0.3)  # what was on its way has arrived
        before = received_from_the_stack()
        refused = run("curl", "-sS", "--connect-timeout", "1", f"http://{STACK}/", ok=False)
        check(refused.returncode != 0, "a new connection was accepted")
        while select.select([client], [], [], 0.3)[0]:  # makes room: the window opens
            part = client.recv(65536)
            check(part, "the connection ended")
            data += part
        check(received_from_the_stack() - before < 64 << 10, "segments come from an address that is gone")
        ip(f"addr add {STACK}/24 dev sl1")
        while part := client.recv(65536):
            data += part
        check(hashlib.sha256(data.partition(b"\r\n\r\n")[2]).hexdigest() == digest, "the copy differs")


CASES = [kernel_pings_stack, kernel_pings_with_fragments, stack_pings_kernel, arping_both_ways, curl_one_page, curl_ten_parallel,
         wrk_sixty_four, checksums_beyond_a_bridge, on_a_packet_socket, on_libpcap, without_offload, written_in_batches,
         datagrams_joined_by_the_kernel,
         get_from_kernel, get_refused, curl_refused, nc_to_kernel, nc_from_kernel, nc_udp, udp_echo_large, udp_echo_burst,
         half_close, reset_by_kernel, over_tun, other_mtus, over_a_bad_link, perf_between_two, iperf3_measures_us,
         we_measure_iperf3, perf_serves_one_at_a_time, get_from_nginx, nc_udp_listen, capture_as_interface, capture_is_sound,
         fast_open_from_kernel, fast_open_to_kernel, signed_to_kernel, signed_from_kernel, ss_beside_the_kernels, marks_agreed,
         marks_are_counted, reasons_beside_packets,
         changed_while_it_runs, routes_changed_while_it_runs, neighbors_changed_while_it_runs, a_connection_survives_its_address,
         restart_after_kill]


def main():
    namespaces.enter_or_skip()
    run("ip", "link", "set", "lo", "up")
    wanted = sys.argv[3:]
    cases = [case for case in CASES if not wanted or case.__name__ in wanted]
    print(f"1..{len(cases)}")
    failed = 0
    for number, case in enumerate(cases, 1):
        start = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            try:
                case(folder)
                print(f"ok {number} - {case.__name__}", flush=True)
            except Skip as reason:
                print(f"ok {number} - {case.__name__} # SKIP {reason}", flush=True)
            except Exception as error:  # a case fails by any exception
                failed += 1
                print(f"not ok {number} - {case.__name__}\n# {type(error).__name__}: {error}", flush=True)
        print(f"# {time.monotonic() - start:.1f} s", flush=True)
    sys.exit(1 if failed else 0)


main()
