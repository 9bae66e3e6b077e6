#!/usr/bin/env python3
"""The views of a running stack, without any privilege: ss, stat and ip ask an httpd on the in-memory Ethernet; a capture
of the simulation carries TCP's reasons as comments that tshark shows. TAP."""
import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

SLUICE = sys.argv[1]
PATIENCE = 60  # s


def run(*arguments, code=0, **more):
    done = subprocess.run([SLUICE, *arguments], capture_output=True, text=True, timeout=PATIENCE, stdin=subprocess.DEVNULL, **more)
    assert done.returncode == code, f"{arguments}: exit {done.returncode}: {done.stdout} {done.stderr}"
    return done.stdout if code == 0 else done.stderr


@contextlib.contextmanager
def stack(folder, *arguments):
    control = f"{folder}/control"
    process = subprocess.Popen([SLUICE, *arguments, "--dev", "mem", "--addr", "10.0.0.1/24", "--control", control],
                               stderr=subprocess.DEVNULL, stdin=subprocess.PIPE)
    try:
        for _ in range(PATIENCE * 10):
            if os.path.exists(control) or process.poll() is not None:
                break
            time.sleep(0.1)
        yield control
    finally:
        process.terminate()
        process.wait(PATIENCE)
    assert not os.path.exists(control), "the socket stays behind"


def ss_of_a_server(folder):
    with stack(folder, "httpd") as control:
        lines = run("ss", "-tl", "--control", control).splitlines()
        assert lines[0].split() == "State Recv-Q Send-Q Local Address:Port Peer Address:Port".split(), lines
        assert lines[1].split() == ["LISTEN", "0", "1024", "0.0.0.0:80", "0.0.0.0:*"], lines
        assert len(run("ss", "-t", "--control", control).splitlines()) == 1
        rows = json.loads(run("ss", "-ta", "--json", "--control", control))
        assert [row["local"] for row in rows["tcp"]] == ["0.0.0.0:80"], rows
        assert run("ss", "-tl", env={"SLUICE_CONTROL": control}).splitlines() == lines


def ss_of_a_client_with_threads(folder):
    with stack(folder, "nc", "10.0.0.2", "7") as control:
        for _ in range(PATIENCE * 10):
            out = run("ss", "-ni", "--control", control)
            if "ESTAB" in out:
                break
            time.sleep(0.1)
        first, second = out.splitlines()[1:3]
        assert re.fullmatch(r"tcp +ESTAB +0 +0 +10\.0\.0\.1:\d+ +10\.0\.0\.2:7", first), out
        assert re.match(r"\t .*\w+ wscale:\d+,\d+ rto:\d+\S* rtt:[\d.]+/[\d.]+ mss:1448 .*cwnd:10", second), out


def ss_of_udp(folder):
    with stack(folder, "echo") as control:
        lines = run("ss", "-ua", "--control", control).splitlines()
        assert lines[1].split() == ["UNCONN", "0", "0", "0.0.0.0:7", "0.0.0.0:*"], lines
        assert len(run("ss", "-l", "--control", control).splitlines()) == 3


def stat_and_what_is_added(folder):
    with stack(folder, "echo") as control:
        once = json.loads(run("stat", "--json", "--control", control))
        assert once["counters"]["link.tx_frames"] > 0, once  # the announcement of our address
        rounds = run("stat", "--json", "--every", "10ms", "-c", "3", "--control", control).splitlines()
        assert len(rounds) == 3 and json.loads(rounds[0])["counters"]["link.tx_frames"] > 0, rounds
        assert "ip.received" not in json.loads(rounds[2])["counters"], rounds  # nothing is added to it
        assert all(set(json.loads(line)) == {"counters", "drops"} for line in rounds), rounds
        assert "link.tx_frames" in run("stat", "--control", control)


def ip_objects(folder):
    with stack(folder, "httpd", "--gateway", "10.0.0.2", "--mac", "02:00:00:00:00:01") as control:
        def show(*words):
            return run("ip", *words, "--control", control)
        assert show("link") == "1: sl1: mtu 1500 state UP device mem\n    link/ether 02:00:00:00:00:01\n"
        assert show("addr", "show") == show("link") + "    inet 10.0.0.1/24\n"
        assert show("route") == "10.0.0.0/24 dev sl1\ndefault via 10.0.0.2 dev sl1\n", show("route")
        assert show("neigh") == "", show("neigh")
        assert json.loads(show("r", "--json"))[1]["gateway"] == "10.0.0.2"
        assert "there are: addr link route neigh" in run("ip", "nonsense", "--control", control, code=2)


def ip_changes(folder):
    with stack(folder, "httpd", "--mac", "02:00:00:00:00:01") as control:
        def ip(words, code=0):
            return run("ip", *words.split(), "--control", control, code=code)

        def changed(words):
            assert ip(words) == "", words
        changed("addr add 10.0.0.3/24 dev sl1")
        changed("link set sl1 mtu 1400 address 02:00:00:00:00:07")
        assert ip("addr show dev sl1") == ("1: sl1: mtu 1400 state UP device mem\n    link/ether 02:00:00:00:00:07\n"
                                           "    inet 10.0.0.1/24\n    inet 10.0.0.3/24\n"), ip("addr")
        changed("a del 10.0.0.1")
        changed("r add default via 10.0.0.2")
        changed("route replace default via 10.0.0.9 dev sl1")
        changed("route add 10.9.0.0/16 dev 1 metric 5")
        assert ip("route") == "10.0.0.0/24 dev sl1\n10.9.0.0/16 dev sl1 metric 5\ndefault via 10.0.0.9 dev sl1\n", ip("route")
        changed("route del 10.9.0.0/16")
        changed("neigh add 10.0.0.9 lladdr 02:00:00:00:00:09 dev sl1")
        changed("neighbor replace 10.0.0.9 lladdr 02:00:00:00:00:0a nud permanent")
        assert ip("neigh") == "10.0.0.9 dev sl1 lladdr 02:00:00:00:00:0a PERMANENT\n", ip("neigh")
        changed("neigh flush")
        assert json.loads(ip("neigh --json"))[0]["state"] == "permanent"
        changed("neigh del 10.0.0.9")
        assert ip("neigh") == "", ip("neigh")
        changed("link set dev sl1 down")
        assert json.loads(ip("link --json"))[0]["state"] == "down"
        for words, message in MISTAKES:
            assert message in ip(words, code=1), f"{words}: {ip(words, code=1)}"


MISTAKES = [
    ("addr add 10.0.0.300/24", "'10.0.0.300/24' is no IPv4 address with a length; write it like 10.0.0.2/24"),
    ("addr add 10.0.0.5", "'10.0.0.5' has no length; write it like 10.0.0.5/24"),
    ("addr add 10.0.0.3/24", "10.0.0.3 is there already; `ip addr` shows all"),
    ("addr add 10.0.0.255/24", "'10.0.0.255/24' cannot be a host's address"),
    ("addr add 10.0.0.6/24 dev eth0", "no interface 'eth0'; there are: sl1"),
    ("addr add 10.0.0.6/24 via 10.0.0.1", "'via' is not understood here; address add takes: dev"),
    ("addr add 10.0.0.6/24 dev", "'dev' needs a value behind it"),
    ("addr add", "address add: what? ADDRESS/LENGTH follows"),
    ("addr del 10.0.0.3/16", "there is no address 10.0.0.3/16 on sl1"),
    ("addr move 10.0.0.3", "'move' is no change of addr; there are: add, delete"),
    ("link set sl1", "what? up, down, mtu N or address MAC follows"),
    ("link set sl1 mtu 60", "mtu 60: from 68 to 65535 can be"),
    ("link set sl1 mtu many", "mtu 'many' is no number"),
    ("link set sl1 address 01:00:5e:00:00:01", "is no station's MAC address"),
    ("link set sl1 address 5", "'5' is no MAC address; write it like 02:00:00:00:00:01"),
    ("link set sl7 up", "no interface 'sl7'; there are: sl1"),
    ("route add 10.1.2.3/16 dev sl1", "'10.1.2.3/16' has bits beyond its length; the network is 10.1.0.0/16"),
    ("route add ten via 10.0.0.9", "'ten' is no IPv4 network; write it like 10.1.0.0/16, or default"),
    ("route add 10.1.0.0/16", "which way? via ADDRESS or dev INTERFACE is missing"),
    ("route add 10.1.0.0/16 via gate", "'gate' is no IPv4 address; the gateway is written like 10.0.0.1"),
    ("route add 10.1.0.0/16 via 172.16.0.1", "the gateway 172.16.0.1 is on no network of this stack"),
    ("route add default via 10.0.0.9", "the gateway 10.0.0.9 is on no network of this stack; add an address on its network, or set the link up"),
    ("route del 10.1.0.0/16", "there is no such route to 10.1.0.0/16; `ip route` shows all"),
    ("neigh add 10.0.0.9", "which MAC address has 10.0.0.9? lladdr and the address are missing"),
    ("neigh add 10.0.0.9 lladdr 02:00:00:00:00:01 nud stale", "nud 'stale': only 'permanent' can be set by hand"),
    ("neigh add 224.0.0.1 lladdr 02:00:00:00:00:01", "'224.0.0.1' cannot be a neighbour's address"),
    ("neigh del 10.0.0.9", "there is no entry for 10.0.0.9; `ip neigh` shows all"),
]


def nobody_there(folder):
    for view in (["ss"], ["stat"], ["ip", "route"]):
        message = run(*view, "--control", f"{folder}/none", code=1)
        assert "no running stack" in message and "--control" in message, message


def reasons_in_a_capture(folder):
    if not shutil.which("tshark"):
        return "tshark is not installed"
    capture = f"{folder}/lossy.pcapng"
    run("sim", "--time", "3s", "--loss", "1%", "--capture", capture)
    out = subprocess.run(["tshark", "-r", capture, "-Y", "frame.comment", "-T", "fields", "-E", "separator=|", "-E", "aggregator=;",
                          "-e", "ip.src", "-e", "tcp.seq_raw", "-e", "frame.comment"], capture_output=True, text=True, timeout=PATIENCE)
    assert out.returncode == 0, out.stderr
    frames = [line.split("|") for line in out.stdout.splitlines()]
    assert any("conn 1: state ESTABLISHED" in text for _, _, text in frames), out.stdout[:500]
    assert any("conn 1: recovery begins" in text for _, _, text in frames), out.stdout[:500]
    again = [(source, number, re.search(r"retransmit \d+ bytes from (\d+)", text)) for source, number, text in frames]
    again = [(source, number, found[1]) for source, number, found in again if found]
    assert again and all(source == "10.1.0.1" and number == told for source, number, told in again), again[:5]
    plain = f"{folder}/lossy.pcap"
    same = [run("sim", "--time", "3s", "--loss", "1%", "--json", "--capture", name) for name in (capture, plain)]
    assert same[0] == same[1], "a capture changes the run"
    packets = [subprocess.run(["tshark", "-r", name, "-T", "fields", "-e", "frame.time_epoch", "-e", "frame.len"], capture_output=True,
                              text=True, timeout=PATIENCE).stdout.splitlines() for name in (capture, plain)]
    assert packets[0] == packets[1] and len(packets[0]) > 100, "the two formats differ"


CASES = [ss_of_a_server, ss_of_a_client_with_threads, ss_of_udp, stat_and_what_is_added, ip_objects, ip_changes, nobody_there, reasons_in_a_capture]
print(f"1..{len(CASES)}")
failed = 0
for number, case in enumerate(CASES, 1):
    with tempfile.TemporaryDirectory() as folder:
        try:
            skipped = case(folder)
            print(f"ok {number} - {case.__name__}" + (f" # SKIP {skipped}" if skipped else ""), flush=True)
        except Exception as error:  # a case fails by any exception
            failed += 1
            print(f"not ok {number} - {case.__name__}\n# {type(error).__name__}: {error}", flush=True)
sys.exit(1 if failed else 0)
