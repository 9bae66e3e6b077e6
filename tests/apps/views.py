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
        assert show("link") == "1: mem: mtu 1500\n    link/ether 02:00:00:00:00:01\n"
        assert show("addr", "show") == show("link") + "    inet 10.0.0.1/24\n"
        assert show("route") == "10.0.0.0/24 dev 1\ndefault via 10.0.0.2 dev 1\n", show("route")
        assert show("neigh") == "", show("neigh")
        assert json.loads(show("r", "--json"))[1]["gateway"] == "10.0.0.2"
        assert "there are: addr link route neigh" in run("ip", "nonsense", "--control", control, code=2)


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


CASES = [ss_of_a_server, ss_of_a_client_with_threads, ss_of_udp, stat_and_what_is_added, ip_objects, nobody_there, reasons_in_a_capture]
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
