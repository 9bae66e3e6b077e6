"""Servers under test; the clients are the kernel's."""
import hashlib
import json
import re
import socket
import subprocess
import sys
import time

from world import PROGRAM, certificate, check, need, rsync_module, same_files, ssh_keys

WRK = "3s"  # how long it loads a server


def fetch(world, url, *options):
    return hashlib.sha256(world.peer("curl", "-sS", "-k", *options, url, data=b"").out).hexdigest()


def copies_equal(world, path, url, *options):
    """Whether a file comes over whole, alone and four times at once."""
    want = hashlib.sha256(path.read_bytes()).hexdigest()
    clients = [subprocess.Popen(["curl", "-sSk", *options, "-o", str(world.folder / f"copy{i}"), url]) for i in range(4)]
    codes = [client.wait(30) for client in clients]
    same = [hashlib.sha256((world.folder / f"copy{i}").read_bytes()).hexdigest() == want for i in range(4)]
    return fetch(world, url, *options) == want, codes, same


def loaded(world, url, connections=200, seconds=WRK, *options):
    """Whether wrk sees no error."""
    need("wrk")
    out = world.peer("wrk", "--timeout", "30s", "-c", connections, "-t2", "-d", seconds, *options, url).out
    check(float(re.search(r"Requests/sec:\s+([\d.]+)", out)[1]) > 0, out)
    return [line for line in out.splitlines() if "errors" in line or "Non-2xx" in line]


# --- HTTP ----------------------------------------------------------------------------------------------------------------

def python_http_server(world):
    need("curl")
    path = world.file("file", 8 << 20)
    world.start(sys.executable, "-m", "http.server", "8000", port=8000, cwd=world.folder)
    missing = world.peer("curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", f"http://{PROGRAM}:8000/none").out
    return copies_equal(world, path, f"http://{PROGRAM}:8000/file"), missing


def nginx(world, listen="80", more=""):
    """Two workers that share the listening socket, sendfile."""
    need("nginx")
    folder = world.folder
    world.write("index.html", "hello\n")
    config = world.write("nginx.conf", f"""
daemon off; worker_processes 2; pid {folder}/pid; error_log {folder}/errors;
{"user root;" if world.root else ""}
events {{ worker_connections 512; }}
http {{
  access_log off; sendfile on; tcp_nopush on; keepalive_requests 100000;
  client_body_temp_path {folder}/1; proxy_temp_path {folder}/2; fastcgi_temp_path {folder}/3;
  uwsgi_temp_path {folder}/4; scgi_temp_path {folder}/5;
  server {{ listen {listen}; root {folder}; {more} }}
}}
""")
    return world.start("nginx", "-p", folder, "-c", config, "-e", folder / "errors", port=int(listen.split()[0]))


def nginx_two_workers(world):
    need("curl")
    path = world.file("file", 16 << 20)
    nginx(world)
    url = f"http://{PROGRAM}/"
    return copies_equal(world, path, url + "file"), loaded(world, url)


def nginx_short_connections(world):
    nginx(world)
    return loaded(world, f"http://{PROGRAM}/", 50, "2s", "-H", "Connection: close")


def nginx_tls_http2(world):
    need("curl", "openssl")
    certificate(world)
    path = world.file("file", 4 << 20)
    nginx(world, "443 ssl http2", f"ssl_certificate {world.folder}/cert.pem; ssl_certificate_key {world.folder}/key.pem;")
    url = f"https://{PROGRAM}/file"
    version = world.peer("curl", "-sSk", "--http2", "-o", "/dev/null", "-w", "%{http_version}", url).out
    return copies_equal(world, path, url), version


def lighttpd(world):
    need("lighttpd", "curl")
    path = world.file("file", 8 << 20)
    world.write("index.html", "hello\n")
    config = world.write("lighttpd.conf", f'server.document-root = "{world.folder}"\nserver.port = 8080\n'
                                          f'server.upload-dirs = ("{world.folder}")\nindex-file.names = ("index.html")\n')
    world.start("lighttpd", "-D", "-f", config, port=8080)
    url = f"http://{PROGRAM}:8080/"
    return copies_equal(world, path, url + "file"), loaded(world, url, 50, "1s")


def busybox_httpd_static(world):
    need("busybox", "curl")
    path = world.file("file", 4 << 20)
    world.start("busybox", "httpd", "-f", "-p", "8081", "-h", world.folder, port=8081)
    return copies_equal(world, path, f"http://{PROGRAM}:8081/file")


def nghttpd_h2(world):
    need("nghttpd", "h2load", "openssl")
    certificate(world)
    world.file("file", 100_000)
    world.start("nghttpd", "-d", world.folder, "-n2", "8443", world.folder / "key.pem", world.folder / "cert.pem", port=8443)
    out = world.peer("h2load", "-n200", "-c10", "-m10", f"https://{PROGRAM}:8443/file").out
    return re.search(r"requests: .*", out)[0]


def openssl_s_server(world):
    need("openssl", "curl")
    certificate(world)
    path = world.file("file", 1 << 20)
    world.start("openssl", "s_server", "-accept", "4433", "-cert", "cert.pem", "-key", "key.pem", "-WWW", port=4433, cwd=world.folder)
    return [fetch(world, f"https://{PROGRAM}:4433/file", "--http0.9") == hashlib.sha256(path.read_bytes()).hexdigest() for _ in range(3)]


def node_http(world):
    need("node", "curl")
    script = "require('http').createServer((q,r)=>{r.end('x'.repeat(1e6))}).listen(3000)"
    world.start("node", "-e", script, port=3000)
    sizes = [len(world.peer("curl", "-sS", f"http://{PROGRAM}:3000/").out) for _ in range(3)]
    return sizes, loaded(world, f"http://{PROGRAM}:3000/", 20, "1s")


# --- stores --------------------------------------------------------------------------------------------------------------

def redis_server(world):
    need("redis-server", "redis-cli", "redis-benchmark")
    world.start("redis-server", "--port", "6379", "--protected-mode", "no", "--save", "", "--dir", world.folder, port=6379)
    commands = "set a 1\nincr a\nincrby a 40\nget a\nstrlen a\n" + "rpush l x\n" * 500 + "llen l\n"
    said = world.peer("redis-cli", "-h", PROGRAM, data=commands).out.split()
    bench = world.peer("redis-benchmark", "-h", PROGRAM, "-q", "-n", "5000", "-c", "50", "-t", "set,get,lrange_100").out
    return said, len(re.findall("requests per second", bench))


def memcached(world):
    need("memcached")
    world.start("memcached", "-p", "11211", "-U", "11211", "-t", "2", *(["-u", "root"] if world.root else []), port=11211)
    results = []
    with socket.create_connection((PROGRAM, 11211), timeout=10) as s, s.makefile("rwb") as f:
        for words, lines in ((b"set a 0 0 5\r\nhello\r\n", 1), (b"get a\r\n", 3), (b"incr b 1\r\n", 1), (b"delete a\r\n", 1)):
            f.write(words)
            f.flush()
            results.append([f.readline() for _ in range(lines)])
    with socket.socket(type=socket.SOCK_DGRAM) as s:
        s.settimeout(5)
        s.sendto(b"\x00\x01\x00\x00\x00\x01\x00\x00version\r\n", (PROGRAM, 11211))
        results.append(s.recvfrom(2000)[0])
    return results


# --- echo, pipes ---------------------------------------------------------------------------------------------------------

def echoes(port, count=5):
    """Several connections at once; each closes its side first and gets all back."""
    open_ones = [socket.create_connection((PROGRAM, port), timeout=10) for _ in range(count)]
    results = []
    for i, s in enumerate(open_ones):
        data = bytes([i]) * 100_000
        with s:
            s.sendall(data)
            s.shutdown(socket.SHUT_WR)
            got = b""
            while part := s.recv(65536):
                got += part
        results.append(got == data)
    return results


def socketserver(world, kind):
    world.start(sys.executable, "-c", f"""
import socketserver
class Echo(socketserver.StreamRequestHandler):
    def handle(self):
        while data := self.request.recv(65536): self.request.sendall(data)
socketserver.{kind}.allow_reuse_address = True
socketserver.{kind}(("{PROGRAM}", 7), Echo).serve_forever()
""", port=7)
    return echoes(7)


def python_threads(world):
    return socketserver(world, "ThreadingTCPServer")


def python_forks(world):
    return socketserver(world, "ForkingTCPServer")


def python_asyncio(world):
    world.start(sys.executable, "-c", f"""
import asyncio
async def echo(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()
async def main():
    server = await asyncio.start_server(echo, "{PROGRAM}", 7)
    await server.serve_forever()
asyncio.run(main())
""", port=7)
    return echoes(7, 50)


def socat_forks(world):
    need("socat")
    world.start("socat", "TCP-LISTEN:7001,fork,reuseaddr", "EXEC:cat", port=7001)
    return echoes(7001)


def socat_udp(world):
    need("socat")
    world.start("socat", "UDP-RECVFROM:7002,fork", "EXEC:cat", port=7002, udp=True)
    results = []
    with socket.socket(type=socket.SOCK_DGRAM) as s:
        s.settimeout(5)
        for size in (1, 1000, 4000):
            s.sendto(b"x" * size, (PROGRAM, 7002))
            data, source = s.recvfrom(9000)
            results.append((len(data), source))
    return results


def ncat_keeps_listening(world):
    need("ncat")
    world.start("ncat", "-l", "-k", "7003", "--exec", "/bin/cat", port=7003)
    results = []
    for i in range(5):
        with socket.create_connection((PROGRAM, 7003), timeout=10) as s:  # it does not outlive a half-close
            s.sendall(bytes([i]) * 10_000)
            results.append(s.makefile("rb").read(10_000) == bytes([i]) * 10_000)
    return results


def nc_takes_a_file(world):
    need("nc")
    path = world.file("file", 4 << 20)
    with open(world.folder / "got", "wb") as got:
        server = world.start("nc", "-l", "-N", "7004", port=7004, stdout=got)
        world.peer("nc", "-N", PROGRAM, "7004", data=path.read_bytes())
        code = server.wait(10)
    return code, (world.folder / "got").read_bytes() == path.read_bytes()


# --- others --------------------------------------------------------------------------------------------------------------

def iperf3_server(world):
    need("iperf3")
    world.start("iperf3", "-s", port=5201)
    return iperf3_reports(lambda *extra: world.peer("iperf3", "-c", PROGRAM, "-J", *extra, ok=False))


def iperf3_reports(client):
    """Several tests, one after the other; a server is not ready for the next at once."""
    results = []
    for extra in (["-n", "50M"], ["-n", "50M", "-R"], ["-n", "20M", "-P", "4"], ["--bidir", "-n", "5M"], ["-u", "-b", "20M", "-n", "1M"],
                  ["-u", "-b", "20M", "-n", "1M", "-R"]):
        for _ in range(50):
            out = client(*extra).out
            report = json.loads(out[out.find("\n{") + 1:])
            if not re.search("busy|refused", report.get("error", "")):
                break
            time.sleep(0.1)
        total = report["end"].get("sum_received", {}).get("bytes", 0)
        results.append((extra, total > 0, report.get("error")))
    return results


def dnsmasq(world):
    need("dnsmasq", "dig")
    names = world.write("hosts", "10.9.8.7 name.test\n10.9.8.6 other.test\n")
    world.start("dnsmasq", "-k", "-p", "5353", "-C", "/dev/null", "-h", "-H", names, "--bind-interfaces", "-a", PROGRAM,
                "-R", "--pid-file", *(["-u", "root"] if world.root else []), "--local=/test/", port=5353, udp=True)
    asked = [world.peer("dig", f"@{PROGRAM}", "-p", "5353", *words, "+short", "+tries=1").out
             for words in (["name.test"], ["other.test"], ["-x", "10.9.8.7"], ["+tcp", "name.test"], ["none.test"])]
    return asked


def git_daemon(world):
    need("git", "git-daemon")
    repository(world)
    world.start("git", "daemon", "--export-all", f"--base-path={world.folder}", "--reuseaddr", "--port=9418", port=9418)
    world.peer("git", "clone", "-q", f"git://{PROGRAM}/origin", world.folder / "copy")
    return world.peer("git", "-C", world.folder / "copy", "log", "--format=%s").out


def repository(world):
    folder = world.folder / "origin"
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    world.peer("git", "init", "-q", folder)
    for i in range(3):
        (folder / f"file{i}").write_bytes(bytes([i]) * 200_000)
        world.peer("git", "-C", folder, "add", ".")
        world.peer("git", "-C", folder, *identity, "commit", "-q", "-m", f"commit {i}")
    world.peer("git", "-C", folder, "update-server-info")
    return folder


def sshd(world):
    need("sshd", "ssh")
    options = ssh_keys(world)
    world.start("/usr/sbin/sshd", "-D", "-e", "-f", world.folder / "sshd_config", port=2222)
    said = world.peer("ssh", *options, "-p", "2222", PROGRAM, "echo $((6*7)); wc -c", data="x" * 500_000).out.split()
    return said


def rsync_daemon(world):
    need("rsync")
    world.start(*rsync_module(world), port=8730)
    world.peer("rsync", "-a", f"rsync://{PROGRAM}:8730/files/", world.folder / "copy")
    return same_files(world, world.folder / "copy")


def perl_echoes(world):
    need("perl")
    script = ("use IO::Socket::INET; my $s = IO::Socket::INET->new(LocalPort => 7000, Listen => 5, ReuseAddr => 1) or die $!;"
              "while (my $c = $s->accept) { while (<$c>) { print $c uc } close $c }")
    world.start("perl", "-e", script, port=7000)
    return [world.peer("nc", "-N", PROGRAM, "7000", data="some\nlines\n" * n).out for n in (1, 1000)]


CASES = [python_http_server, nginx_two_workers, nginx_short_connections, nginx_tls_http2, lighttpd, busybox_httpd_static, nghttpd_h2,
         openssl_s_server, node_http, redis_server, memcached, python_threads, python_forks, python_asyncio, socat_forks,
         socat_udp, ncat_keeps_listening, nc_takes_a_file, iperf3_server, dnsmasq, git_daemon, sshd,
         rsync_daemon, perl_echoes]
