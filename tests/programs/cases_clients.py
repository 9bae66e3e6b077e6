"""Clients under test; the servers are the kernel's."""
import hashlib
import sys

from world import PEER, check, need


def http_server(world, port=8000):
    """A file served natively; its path."""
    path = world.file("file", 4 << 20)
    world.start_peer(sys.executable, "-m", "http.server", "-b", PEER, str(port), port=port, cwd=world.folder)
    return path


def curl(world):
    need("curl")
    path = http_server(world)
    got = world.run("curl", "-sS", "-w", "%{stderr}%{http_code} %{size_download} %{remote_ip} %{remote_port}", f"http://{PEER}:8000/file", data=b"")
    check(got.out == path.read_bytes(), "the copy differs")
    return got.err


def curl_refused(world):
    need("curl")
    got = world.run("curl", "-sS", f"http://{PEER}:8001/", ok=False)
    return got.code, got.err.split("after")[0]


CASES = [curl, curl_refused]
