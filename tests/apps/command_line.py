#!/usr/bin/env python3
"""Bad command lines: each exits with 2, says what is wrong and what to do, and nothing on standard output. TAP."""
import subprocess
import sys

SLUICE = sys.argv[1]
MEM = "--dev mem --addr 10.0.0.1/24"

# The command line, and what the message has to contain.
BAD = [
    ("nonsense", ["'nonsense' is no command", "ping", "httpd", "dump"]),
    ("--nonsense", ["'--nonsense'", "sluice --help"]),
    ("ping", ["host", "sluice ping --help"]),
    ("ping 10.0.0.2", ["--dev is missing", "--dev mem --addr 10.0.0.1/24", "help devices"]),
    ("ping --dev mem 10.0.0.2", ["--addr is missing", "10.0.0.2/24"]),
    ("ping --dev bogus --addr 10.0.0.1/24 10.0.0.2", ["'bogus' is no device", "tap:NAME", "mem"]),
    ("ping --dev tap: --addr 10.0.0.1/24 10.0.0.2", ["no interface name", "1 to 15"]),
    ("ping --dev mem --addr 10.0.0.1 10.0.0.2", ["--addr", "10.0.0.1/24"]),
    ("ping --dev mem --addr 10.0.0.1/33 10.0.0.2", ["--addr", "10.0.0.1/24"]),
    (f"ping {MEM} example.org", ["'example.org' is not an IPv4 address", "names are not resolved"]),
    (f"ping {MEM} -c x 10.0.0.2", ["-c", "x", "sluice ping --help"]),
    (f"ping {MEM} -s 70000 10.0.0.2", ["-s", "70000", "65507"]),
    (f"ping {MEM} --unknown 10.0.0.2", ["--unknown", "sluice ping --help"]),
    (f"ping {MEM} --gateway x 10.0.0.2", ["'x' is no address", "10.0.0.1"]),
    (f"ping {MEM} --mac x 10.0.0.2", ["'x' is no MAC address", "02:00:00:00:00:01"]),
    (f"ping {MEM} --mtu 10 10.0.0.2", ["--mtu", "10", "68"]),
    (f"ping {MEM} --impair loss=x 10.0.0.2", ["'loss=x'", "loss=1%"]),
    (f"ping {MEM} --cc bogus 10.0.0.2", ["'bogus'", "newreno"]),
    (f"ping {MEM} --capture /nonexistent/x 10.0.0.2", ["/nonexistent/x", "No such file"]),
    ("ping --dev pcap:/nonexistent --addr 10.0.0.1/24 10.0.0.2", ["sluice: /nonexistent: No such file"]),
    (f"get {MEM}", ["url", "sluice get --help"]),
    (f"get {MEM} https://10.0.0.2/", ["'https://10.0.0.2/' is no URL", "http://10.0.0.2"]),
    (f"get {MEM} http://10.0.0.2:99999/", ["no URL", "http://10.0.0.2:8080"]),
    (f"nc {MEM}", ["where to?", "nc HOST PORT", "nc -l PORT"]),
    (f"nc {MEM} 10.0.0.2", ["which port of '10.0.0.2'", "nc HOST PORT"]),
    (f"nc {MEM} 10.0.0.2 x", ["'x' is no port", "65535"]),
    (f"nc {MEM} -l 99999", ["'99999' is no port", "65535"]),
    (f"httpd {MEM} /nonexistent", ["'/nonexistent' is not a directory"]),
    (f"echo {MEM} -p 70000", ["--port", "70000", "sluice echo --help"]),
    (f"perf {MEM} -t 1 -n 1M 10.0.0.2", ["-t excludes -n"]),
    (f"perf {MEM} -R --bidir 10.0.0.2", ["-R excludes --bidir"]),
    (f"perf {MEM} -s 10.0.0.2", ["excludes", "-s"]),
    (f"perf {MEM} -b 5X 10.0.0.2", ["-b", "x unit not recognized"]),
    (f"perf {MEM} -P 200 10.0.0.2", ["-P", "200", "128"]),
    (f"perf {MEM} -u -l 100000 10.0.0.2", ["-l 100000", "65507"]),
    (f"perf {MEM} --no-nonsense 10.0.0.2", ["--no-nonsense", "sluice perf --help"]),
    ("sim --rate 5parsec", ["--rate '5parsec'", "100mbit"]),
    ("sim --rate 0", ["rate", "more than 0"]),
    ("sim --rtt 5", ["--rtt '5'", "10ms"]),
    ("sim --queue 1x", ["--queue '1x'", "256k", "100p", "1bdp"]),
    ("sim --queue 100", ["queue", "at least one packet of 1500 bytes"]),
    ("sim --qdisc red", ["--qdisc 'red'", "droptail codel fq_codel"]),
    ("sim --ecn-threshold x", ["--ecn-threshold 'x'", "20p"]),
    ("sim --loss 200%", ["--loss '200%'", "1%"]),
    ("sim --ack-loss x", ["--ack-loss 'x'", "1%"]),
    ("sim --burst 1%", ["--burst '1%'", "0.1%:20%"]),
    ("sim --reorder 1%", ["--reorder '1%'", "5%:10ms"]),
    ("sim --jitter 2", ["--jitter '2'", "2ms"]),
    ("sim --down 1s", ["--down '1s'", "10s:500ms"]),
    ("sim --time 0s", ["time", "more than 0"]),
    ("sim --warm-up 30s", ["warm-up", "before the run"]),
    ("sim --tail", ["tail", "bytes or writes"]),
    ("sim --cc bogus", ["'bogus'", "newreno"]),
    ("sim --flows 0", ["--flows", "0"]),
    ("sim --flow rtt=x", ["'rtt=x'", "rtt=40ms", "[no-]timestamps"]),
    ("sim --flow cc=bogus", ["'bogus'", "newreno"]),
    ("sim --flow cc=newreno,fast", ["'fast'", "[no-]delayed-ack"]),
    ("sim --flow start=40s", ["start before the run ends"]),
    ("sim --mtu 100", ["--mtu", "100", "576"]),
    ("sim --time 100ms --csv /nonexistent/x", ["/nonexistent/x", "No such file"]),
    ("sim --time 100ms --capture /nonexistent/x", ["/nonexistent/x", "No such file"]),
    ("ss", ["--control", "sluice ss --help"]),
    ("ip --control /nonexistent", ["object", "sluice ip --help"]),
    ("ip --control /nonexistent flux", ["'flux'", "addr link route neigh"]),
    ("stat --every 0", ["--every", "0", "sluice stat --help"]),
    (f"ping {MEM} --control /nonexistent/x 10.0.0.2", ["--control /nonexistent/x", "No such file"]),
    (f"run {MEM}", ["command", "sluice run --help"]),
    ("run -- true", ["--dev is missing"]),
    ("dump", ["file", "sluice dump --help"]),
    ("dump /nonexistent", ["/nonexistent", "not exist"]),
    (f"replay {SLUICE}", ["--as", "sluice replay --help"]),
    (f"replay {SLUICE} --as x", ["--as", "192.168.1.10/24"]),
    ("help nonsense", ["'nonsense'", "devices", "impair"]),
]
# What works without a device.
GOOD = [
    ("--help", ["ping", "sluice help devices"]),
    ("help devices", ["tap:NAME", "pcap:IN"]),
    ("help impair", ["loss=1%", "--seed"]),
    ("help perf", ["iperf3", "--bidir"]),
    ("help ss", ["--control", "SLUICE_CONTROL"]),
    ("help sim", ["fq_codel", "--no-timestamps", "rtt=40ms"]),
    (f"run {MEM} -- curl -sS http://10.0.0.2/", ["hello from sluice"]),
    ("stat", ["no_route"]),
    ("sim --time 1s", ["cubic", "fairness 1.0000", "queue delay"]),
    ("sim --time 1s --rate 10mbit --rtt 10ms --queue 50p --qdisc codel --ecn-threshold 20p --loss 1% --burst 0.1%:20% "
     "--ack-loss 1% --jitter 1ms --reorder 1%:5ms --down 10s:1ms --warm-up 100ms --flows 2 --no-timestamps "
     "--flow n=2,cc=newreno,rtt=5ms,start=50ms,bytes=10k,write=5k:10ms,tail,no-delayed-ack --json",
     ['"fairness"', '"queue_delay_p99_ms"', '"rtt_ms": 5.0', '"completed_after_s"']),
]


def problem(words, wanted, code, message_on):
    done = subprocess.run([SLUICE, *words.split()], capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
    message, other = (done.stderr, done.stdout) if message_on == "stderr" else (done.stdout, done.stderr)
    if done.returncode != code:
        return f"exit {done.returncode}: {message.strip()}"
    if other:
        return f"on the wrong stream: {other.strip()[:200]}"
    missing = [text for text in wanted if text not in message]
    return f"{missing} is not in: {message.strip()[:300]}" if missing else None


rows = [(words, wanted, 2, "stderr") for words, wanted in BAD] + [(words, wanted, 0, "stdout") for words, wanted in GOOD]
print(f"1..{len(rows)}")
failed = 0
for number, row in enumerate(rows, 1):
    what = problem(*row)
    failed += what is not None
    print(f"{'not ok' if what else 'ok'} {number} - sluice {row[0].replace(SLUICE, 'FILE')}" + (f"\n# {what}" if what else ""))
sys.exit(1 if failed else 0)
