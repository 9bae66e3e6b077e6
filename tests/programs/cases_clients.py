"""Clients under test; the servers are the kernel's."""
import hashlib
import json
import re
import sys

from cases_servers import iperf3_reports, repository
from world import PEER, certificate, check, need, rsync_module, same_files, ssh_keys

ECHO = """
import asyncio
async def echo(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()
async def main():
    server = await asyncio.start_server(echo, "%s", %d)
    await server.serve_forever()
asyncio.run(main())
"""


def http_server(world):
    """nginx, where it is installed, on port 8000 of the kernel's; a file that it serves."""
    need("nginx")
    folder = world.folder
    world.write("index.html", "hello\n")
    config = world.write("nginx.conf", f"""
daemon off; master_process off; pid {folder}/pid; error_log {folder}/errors;
events {{ worker_connections 512; }}
http {{
  access_log off; client_body_temp_path {folder}/1; proxy_temp_path {folder}/2; fastcgi_temp_path {folder}/3;
  uwsgi_temp_path {folder}/4; scgi_temp_path {folder}/5; keepalive_requests 100000;
  server {{ listen {PEER}:8000; root {folder}; location /moved {{ return 301 /file; }} }}
}}
""")
    path = world.file("file", 4 << 20)
    world.start_peer("nginx", "-p", folder, "-c", config, "-e", folder / "errors", port=8000)
    return path


def echo_server(world, port=7):
    world.start_peer(sys.executable, "-c", ECHO % (PEER, port), port=port)


# --- HTTP ----------------------------------------------------------------------------------------------------------------

def curl(world):
    need("curl")
    path = http_server(world)
    shown = "%{stderr}%{http_code} %{size_download} %{remote_ip} %{remote_port} %{num_connects}"
    got = world.run("curl", "-sSL", "-w", shown, f"http://{PEER}:8000/moved", data=b"")
    parallel = world.run("curl", "-sSZ", *[word for i in range(20) for word in ("-o", f"{world.folder}/p{i}", f"http://{PEER}:8000/file")])
    copies = [(world.folder / f"p{i}").read_bytes() == path.read_bytes() for i in range(20)]
    return got.out == path.read_bytes(), got.err, parallel.code, copies


def curl_h2_tls(world):
    need("curl", "nghttpd", "openssl")
    certificate(world)
    path = world.file("file", 4 << 20)
    world.start_peer("nghttpd", "-d", world.folder, "8443", world.folder / "key.pem", world.folder / "cert.pem", port=8443)
    got = world.run("curl", "-sSk", "--http2", "-w", "%{stderr}%{http_version} %{http_code}", f"https://{PEER}:8443/file", data=b"")
    return got.out == path.read_bytes(), got.err


def curl_refused(world):
    need("curl")
    got = world.run("curl", "-sS", f"http://{PEER}:8001/", ok=False)
    return got.code, got.err.split("after")[0]


def wget(world):
    need("wget")
    path = http_server(world)
    got = world.run("wget", "-q", "-O", world.folder / "got", f"http://{PEER}:8000/file")
    missing = world.run("wget", "-q", "-O", "/dev/null", f"http://{PEER}:8000/none", ok=False)
    return got.code, (world.folder / "got").read_bytes() == path.read_bytes(), missing.code


def busybox_wget_static(world):
    need("busybox")
    path = http_server(world)
    world.run("busybox", "wget", "-q", "-O", world.folder / "got", f"http://{PEER}:8000/file")
    return (world.folder / "got").read_bytes() == path.read_bytes()


def python_urllib(world):
    path = http_server(world)
    script = f"import hashlib, urllib.request as u; print(hashlib.sha256(u.urlopen('http://{PEER}:8000/file').read()).hexdigest())"
    return world.run(sys.executable, "-c", script).out.strip() == hashlib.sha256(path.read_bytes()).hexdigest()


def python_asyncio(world):
    echo_server(world)
    return world.run(sys.executable, "-c", f"""
import asyncio
async def one(i):
    reader, writer = await asyncio.open_connection("{PEER}", 7)
    writer.write(bytes([i]) * 100000)
    writer.write_eof()
    got = await reader.read()
    writer.close()
    return got == bytes([i]) * 100000
async def main():
    print(await asyncio.gather(*[one(i) for i in range(50)]))
asyncio.run(main())
""").out


def node_fetch(world):
    need("node")
    http_server(world)
    script = (f"Promise.all([...Array(10)].map(()=>fetch('http://{PEER}:8000/file').then(r=>r.arrayBuffer())))"
              ".then(a=>console.log(a.map(b=>b.byteLength).join()))")
    return world.run("node", "-e", script).out


def wrk(world):
    need("wrk")
    http_server(world)
    out = world.run("wrk", "--timeout", "30s", "-c100", "-t2", "-d1s", f"http://{PEER}:8000/").out
    check(float(re.search(r"Requests/sec:\s+([\d.]+)", out)[1]) > 0, out)
    return [line for line in out.splitlines() if "errors" in line or "Non-2xx" in line]


def ab(world):
    need("ab")
    http_server(world)
    results = []
    for extra in ([], ["-k"]):
        out = world.run("ab", "-q", "-n", "1000", "-c", "20", *extra, f"http://{PEER}:8000/").out
        results.append(re.findall(r"(?:Complete|Failed) requests: +\d+", out))
    return results


def hey(world):
    """Written in Go, linked statically."""
    need("hey")
    http_server(world)
    out = world.run("hey", "-n", "1000", "-c", "50", f"http://{PEER}:8000/").out
    return re.findall(r"\[\d+\]\s+\d+ responses", out), "Error distribution" in out


def h2load(world):
    need("h2load", "nghttpd", "openssl")
    certificate(world)
    world.file("file", 100_000)
    world.start_peer("nghttpd", "-d", world.folder, "8443", world.folder / "key.pem", world.folder / "cert.pem", port=8443)
    return re.search(r"requests: .*", world.run("h2load", "-n200", "-c10", "-m10", f"https://{PEER}:8443/file").out)[0]


def siege(world):
    need("siege")
    http_server(world)
    done = world.run("siege", "-b", "-c", "10", "-r", "50", "-R", world.write("siegerc", "verbose = false\njson_output = true\n"),
                     f"http://{PEER}:8000/", env={"HOME": str(world.folder), "PATH": "/usr/bin:/bin"})
    return [json.loads(done.out[done.out.find("{"):])[key] for key in ("successful_transactions", "failed_transactions")]


def openssl_s_client(world):
    need("openssl")
    certificate(world)
    world.write("text", "over TLS\n")
    world.start_peer("openssl", "s_server", "-accept", "4433", "-cert", "cert.pem", "-key", "key.pem", "-WWW", port=4433, cwd=world.folder)
    done = world.run("openssl", "s_client", "-connect", f"{PEER}:4433", "-quiet", data="GET /text HTTP/1.0\r\n\r\n", ok=False)
    return "over TLS" in done.out


# --- others --------------------------------------------------------------------------------------------------------------

def redis_benchmark(world):
    need("redis-server", "redis-benchmark")
    world.start_peer("redis-server", "--port", "6379", "--bind", PEER, "--protected-mode", "no", "--save", "", "--dir", world.folder, port=6379)
    out = world.run("redis-benchmark", "-h", PEER, "-q", "-n", "5000", "-c", "50", "-t", "set,get,lpush,lrange_100").out
    piped = world.run("redis-cli", "-h", PEER, data="set a 41\nincr a\n").out
    return len(re.findall("requests per second", out)), piped


def iperf3(world):
    need("iperf3")
    world.start_peer("iperf3", "-s", port=5201)
    return iperf3_reports(lambda *extra: world.run("iperf3", "-c", PEER, "-J", *extra, ok=False))


def nc(world):
    need("nc")
    echo_server(world)
    data = world.file("file", 1 << 20).read_bytes()
    half_closed = world.run("nc", "-N", PEER, "7", data=data)
    scan = world.run("nc", "-zv", PEER, "7")
    refused = world.run("nc", "-z", PEER, "8", ok=False)
    return half_closed.out == data, scan.code, refused.code


def nc_udp(world):
    need("nc", "socat")
    world.start_peer("socat", "UDP-RECVFROM:7002,fork", "EXEC:cat", port=7002, udp=True)
    return world.run("nc", "-u", "-w1", PEER, "7002", data="a datagram\n").out


def socat(world):
    need("socat")
    echo_server(world)
    data = world.file("file", 1 << 20).read_bytes()
    return world.run("socat", "-t5", "-", f"TCP:{PEER}:7", data=data).out == data


def ssh(world):
    need("sshd", "ssh")
    options = ssh_keys(world)
    world.start_peer("/usr/sbin/sshd", "-D", "-e", "-f", world.folder / "sshd_config", port=2222)
    said = world.run("ssh", *options, "-p", "2222", PEER, "echo $((6*7)); wc -c", data="x" * 500_000).out.split()
    path = world.file("file", 2 << 20)
    world.run("scp", "-q", "-P", "2222", *options, path, f"{PEER}:{world.folder}/copied")
    return said, (world.folder / "copied").read_bytes() == path.read_bytes()


def git_over_http(world):
    need("git")
    repository(world)
    world.start_peer(sys.executable, "-m", "http.server", "-b", PEER, "8000", port=8000, cwd=world.folder)
    world.run("git", "clone", "-q", f"http://{PEER}:8000/origin/.git", world.folder / "copy")
    return world.peer("git", "-C", world.folder / "copy", "log", "--format=%s").out


def name_server(world, port):
    need("dnsmasq")
    names = world.write("hosts", f"10.9.8.7 name.test\n{PEER} peer.test\n")
    return world.start_peer("dnsmasq", "-k", "-p", port, "-C", "/dev/null", "-h", "-H", names, "--bind-interfaces", "-a", PEER, "-R",
                            "--pid-file", *(["-u", "root"] if world.root else []), "--local=/test/", port=port, udp=True)


def dig(world):
    need("dig")
    name_server(world, 5353)
    return [world.run("dig", f"@{PEER}", "-p", "5353", *words, "+short", "+tries=1").out
            for words in (["name.test"], ["-x", "10.9.8.7"], ["+tcp", "name.test"], ["none.test"])]


def names_resolve(world):
    """By glibc and by what programs bring along, from the name server of /etc/resolv.conf."""
    need("curl", "getent")
    name_server(world, 53)
    path = http_server(world)
    world.resolve_at(PEER)
    got = world.run("curl", "-sS", "http://peer.test:8000/file", data=b"")
    asked = [world.run(*words, ok=False) for words in (["getent", "hosts", "name.test"], ["getent", "ahostsv4", "peer.test"],
                                                       ["getent", "hosts", "none.test"])]
    return got.out == path.read_bytes(), [(a.code, a.out) for a in asked]


def ping(world):
    """Its socket is one for ICMP echo. The device of the native run has another address, but as many answers."""
    need("ping")
    out = world.run("ping", "-c3", "-i0.1", "-s1000", PEER).out
    return re.search(r"3 packets transmitted, 3 received, 0% packet loss", out)[0], re.findall(r"(\d+) bytes from ([\d.]+): icmp_seq=(\d+) ttl=(\d+)", out)


def bash_dev_tcp(world):
    need("bash")
    http_server(world)
    return world.run("bash", "-c", f'exec 3<>/dev/tcp/{PEER}/8000; printf "GET /index.html HTTP/1.0\\r\\n\\r\\n" >&3; tail -1 <&3').out


def rsync(world):
    need("rsync")
    world.start_peer(*rsync_module(world), port=8730)
    world.run("rsync", "-a", f"rsync://{PEER}:8730/files/", world.folder / "copy")
    return same_files(world, world.folder / "copy")


def perl_asks(world):
    need("perl")
    http_server(world)
    script = (f'use IO::Socket::INET; my $s = IO::Socket::INET->new("{PEER}:8000") or die $!;'
              'print $s "GET /index.html HTTP/1.0\r\n\r\n"; my @l = <$s>; print $l[-1], $s->peerhost, " ", $s->peerport;')
    return world.run("perl", "-e", script).out


CASES = [curl, curl_h2_tls, curl_refused, wget, busybox_wget_static, python_urllib, python_asyncio, node_fetch, wrk, ab, hey, h2load, siege,
         openssl_s_client, redis_benchmark, iperf3, nc, nc_udp, socat, ssh, git_over_http, dig, names_resolve, ping, bash_dev_tcp,
         rsync, perl_asks]
