#!/usr/bin/env python3
"""The installed library as a stranger meets it: nothing but headers, library and pkg-config file. Builds the examples of
the documentation with it and, where a namespace and a tap can be made, talks to each one. Output in TAP.

usage: install.py BUILD_FOLDER SOURCE_FOLDER COMPILER
"""
import os
import pathlib
import shlex
import socket
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
import namespaces

BUILD, SOURCE, COMPILER = sys.argv[1:4]
KERNEL, STACK = "10.0.0.1", "10.0.0.2"
LONG = 300  # s: the limit of a hanging program
EXAMPLES = sorted(pathlib.Path(SOURCE, "docs", "examples").glob("*.cc"))


def run(*command, **more):
    done = subprocess.run(command, capture_output=True, text=True, timeout=LONG, **more)
    if done.returncode != 0:
        raise AssertionError(f"{command[0]}: exit {done.returncode}: {done.stdout[-500:]} {done.stderr[-1500:]}")
    return done.stdout


def shown(example):
    """The README shows the example as it is, but for the line that says what it is."""
    if example.read_text().split("\n", 1)[1].strip() not in pathlib.Path(SOURCE, "README.md").read_text():
        raise AssertionError("the README shows another program than docs/examples/" + example.name)


def build(example, prefix, folder):
    found = next(prefix.rglob("sluice.pc"))
    environment = dict(os.environ, PKG_CONFIG_PATH=str(found.parent), PKG_CONFIG_SYSROOT_DIR=str(prefix))
    flags = shlex.split(run("pkg-config", "--cflags", "--libs", "sluice", env=environment))
    program = folder / example.stem
    run(*shlex.split(COMPILER), "-std=c++20", "-Wall", "-Wextra", "-Werror", str(example), "-o", str(program), *flags)
    library = next(prefix.rglob("libsluice.so")).parent
    return program, dict(os.environ, LD_LIBRARY_PATH=str(library))


def talk(program, environment):
    run("ip", "tuntap", "add", "dev", "tap0", "mode", "tap")
    run("ip", "address", "add", KERNEL + "/24", "dev", "tap0")
    run("ip", "link", "set", "tap0", "up")
    server = subprocess.Popen([program, "tap:tap0", STACK + "/24"], env=environment)
    try:
        connection = connect(server)
        text = bytes(range(256)) * 400
        connection.sendall(text[:1000])
        got = receive(connection, 1000)
        connection.sendall(text[1000:5000])
        got += receive(connection, 4000)
        if got != text[:5000]:
            raise AssertionError("what came back is not what was sent")
        connection.close()
    finally:
        server.terminate()
        server.wait(LONG)
        run("ip", "tuntap", "del", "dev", "tap0", "mode", "tap")


def connect(server):
    for _ in range(200):
        if server.poll() is not None:
            raise AssertionError(f"it ended with {server.returncode}")
        try:
            return socket.create_connection((STACK, 7), timeout=LONG)
        except OSError:
            time.sleep(0.05)
    raise AssertionError("it does not accept connections")


def receive(connection, size):
    got = b""
    while len(got) < size:
        part = connection.recv(size - len(got))
        if not part:
            raise AssertionError(f"the stream ended after {len(got)} bytes")
        got += part
    return got


def main():
    why_alone = namespaces.enter()
    print(f"1..{3 * len(EXAMPLES)}", flush=True)
    number = 0

    def report(name, action):
        nonlocal number
        number += 1
        try:
            result = action()
        except Exception as problem:  # whatever it is, the next example has its turn
            print(f"not ok {number} - {name}: " + str(problem).replace("\n", " "), flush=True)
            return None
        print(f"ok {number} - {name}", flush=True)
        return result

    with tempfile.TemporaryDirectory() as folder:
        prefix = pathlib.Path(folder, "root")
        run("meson", "install", "-C", BUILD, "--no-rebuild", "--destdir", str(prefix))
        for example in EXAMPLES:
            report(f"{example.stem} stands in the README", lambda: shown(example))
            built = report(f"{example.stem} builds with pkg-config", lambda: build(example, prefix, pathlib.Path(folder)))
            if built and why_alone:
                number += 1
                print(f"ok {number} - {example.stem} # SKIP {why_alone}", flush=True)
            else:
                report(f"{example.stem} echoes", lambda: talk(*built))


main()
