"""Servers under test; the clients are the kernel's."""
import hashlib
import re
import subprocess
import sys
import time

from world import PROGRAM, check, need


def fetch(world, url, *options):
    return hashlib.sha256(world.peer("curl", "-sS", "-k", *options, url, data=b"").out).hexdigest()


def copies_equal(world, path, url, *options):
    """Whether a file comes over whole, twice, and with four at a time."""
    want = hashlib.sha256(path.read_bytes()).hexdigest()
    check(fetch(world, url, *options) == want, "the copy differs")
    clients = [subprocess.Popen(["curl", "-sSk", *options, "-o", str(world.folder / f"copy{i}"), url]) for i in range(4)]
    check(all(client.wait(30) == 0 for client in clients), "curl failed")
    same = [hashlib.sha256((world.folder / f"copy{i}").read_bytes()).hexdigest() == want for i in range(4)]
    return same


def python_http_server(world):
    need("curl")
    path = world.file("file", 8 << 20)
    world.start(sys.executable, "-m", "http.server", "8000", port=8000, cwd=world.folder)
    missing = world.peer("curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", f"http://{PROGRAM}:8000/none").out
    return copies_equal(world, path, f"http://{PROGRAM}:8000/file"), missing


def python_socketserver_threads(world):
    return echo_server(world, "ThreadingTCPServer")


def python_socketserver_forks(world):
    return echo_server(world, "ForkingTCPServer")


def echo_server(world, kind):
    import socket
    script = f"""
import socketserver
class Echo(socketserver.StreamRequestHandler):
    def handle(self):
        while data := self.request.recv(65536): self.request.sendall(data)
socketserver.{kind}.allow_reuse_address = True
socketserver.{kind}(("{PROGRAM}", 7), Echo).serve_forever()
"""
    world.start(sys.executable, "-c", script, port=7)
    return echoes(7)


def echoes(port):
    """Several connections at once; each closes its side first and gets all back."""
    import socket
    open_ones = [socket.create_connection((PROGRAM, port), timeout=10) for _ in range(5)]
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


CASES = [python_http_server, python_socketserver_threads, python_socketserver_forks]
