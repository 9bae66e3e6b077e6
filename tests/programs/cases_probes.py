"""What a program may see of its sockets, asked by small programs; their peers are threads of this process."""
import contextlib
import pathlib
import signal
import socket
import struct
import sys
import threading
import time

from world import PEER, PROGRAM, Skip, check

PRELUDE = f"""
import array, ctypes, errno, fcntl, os, select, signal, socket, struct, subprocess, sys, threading, time
PEER, PROGRAM = "{PEER}", "{PROGRAM}"
IP_RECVTTL = 12
def say(*values): print(*values, flush=True)
def error(call, *arguments):
    try:
        return call(*arguments)
    except OSError as e:
        return errno.errorcode.get(e.errno, type(e).__name__)
def polled(s, events=select.POLLIN | select.POLLOUT, ms=2000):
    p = select.poll()
    p.register(s, events)
    return [hex(found) for _, found in p.poll(ms)]
def listener(port, host=PROGRAM, backlog=16):
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind((host, port))
    s.listen(backlog)
    return s
def all_of(s):
    got = b""
    while part := s.recv(65536): got += part
    return got
"""


def probe(world, script):
    """What the script, as the program under test, has said."""
    return world.run(sys.executable, "-c", PRELUDE + script).out.splitlines()


def script_in_background(world, script, port=None, **more):
    return world.start(sys.executable, "-c", PRELUDE + script, port=port, **more)


@contextlib.contextmanager
def peer_listens(port, serve, backlog=64, fast_open=0):
    """`serve` is called with each connection, in a thread. `fast_open`: how many may begin with data (RFC 7413)."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_FASTOPEN, fast_open)
    listener.bind((PEER, port))
    listener.listen(backlog)

    def accept():
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()
    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)


def echo(connection):
    with connection, contextlib.suppress(ConnectionError):
        while part := connection.recv(65536):
            connection.sendall(part)


def reset(connection):
    time.sleep(0.1)  # or it may come while the other end is still connecting
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


# --- one socket ----------------------------------------------------------------------------------------------------------

def names_and_options(world):
    with peer_listens(7000, echo):
        return probe(world, """
s = socket.socket()
say(s.getsockname(), error(s.getpeername))
say([s.getsockopt(socket.SOL_SOCKET, o) for o in (socket.SO_TYPE, socket.SO_DOMAIN, socket.SO_PROTOCOL, socket.SO_ERROR, socket.SO_ACCEPTCONN)])
s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 3, 0))
say([s.getsockopt(*o) for o in ((6, socket.TCP_NODELAY), (1, socket.SO_REUSEADDR), (1, socket.SO_KEEPALIVE))], s.getsockopt(1, socket.SO_RCVTIMEO, 16))
say(error(s.setsockopt, 6, 250, 1), error(s.getsockopt, 77, 1), error(s.accept), error(s.setsockopt, 1, socket.SO_TYPE, 1))
s.bind((PROGRAM, 5555))
say(s.getsockname(), error(s.bind, (PROGRAM, 5556)))
s.connect((PEER, 7000))
say(s.getsockname(), s.getpeername(), error(s.connect, (PEER, 7000)), error(s.listen))
say(s.getsockopt(6, socket.TCP_INFO, 1), s.getsockopt(1, socket.SO_ERROR))
s.sendall(b"abc")
say(s.recv(2, socket.MSG_PEEK), s.recv(10))
say(error(os.fstat, s.fileno()).st_mode & 0o170000 == 0o140000, fcntl.fcntl(s, fcntl.F_GETFL) & os.O_NONBLOCK)
say(error(socket.socket, socket.AF_INET, 77), error(s.getsockopt, 1, socket.SO_LINGER, 8))
""")


def connects_without_blocking(world):
    with peer_listens(7000, echo):
        return probe(world, """
s = socket.socket()
s.setblocking(False)
say(errno.errorcode[s.connect_ex((PEER, 7000))])
say(polled(s, select.POLLOUT), s.getsockopt(1, socket.SO_ERROR), s.getpeername())
say(polled(s, select.POLLIN, 0), error(s.recv, 1), s.send(b"abc"), polled(s, select.POLLIN), s.recv(9))
t = socket.socket()
t.setblocking(False)
say(errno.errorcode[t.connect_ex((PEER, 7001))])
say(polled(t), errno.errorcode[t.getsockopt(1, socket.SO_ERROR)], t.getsockopt(1, socket.SO_ERROR), error(t.getpeername))
u = socket.socket()
u.setblocking(False)
e = select.epoll()
u.connect_ex((PEER, 7000))
e.register(u, select.EPOLLOUT | select.EPOLLIN | select.EPOLLET)
say([hex(v) for _, v in e.poll(2)], e.poll(0.1))
u.send(b"x")
while not any(v & select.EPOLLIN for _, v in e.poll(2)): pass
say(u.recv(9))
""")


def connects_again_after_refusal(world):
    with peer_listens(7000, echo):
        return probe(world, """
s = socket.socket()
say(error(s.connect, (PEER, 7001)), s.getsockopt(1, socket.SO_ERROR))
s.connect((PEER, 7000))
s.sendall(b"abc")
say(s.recv(9))
""")


def accepts_with_flags(world):
    script_in_background(world, """
l = listener(7100)
out = []
for flags in (0, socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC):
    libc = ctypes.CDLL(None, use_errno=True)
    name, size = ctypes.create_string_buffer(16), ctypes.c_uint(16)
    fd = libc.accept4(l.fileno(), name, ctypes.byref(size), flags)
    out.append((size.value, name.raw[:2], socket.inet_ntoa(name.raw[4:8]), fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_NONBLOCK, fcntl.fcntl(fd, fcntl.F_GETFD)))
    os.close(fd)
l.setblocking(False)
out.append(error(l.accept))
l.settimeout(0.1)
out.append(error(l.accept))
l.setblocking(True)
l.setsockopt(1, socket.SO_RCVTIMEO, struct.pack("ll", 0, 100000))
out.append(error(l.accept))
out.append(polled(l, select.POLLIN, 0))
out.append(l.getsockopt(1, socket.SO_ACCEPTCONN))
s = socket.create_connection((PEER, 7101))
s.sendall(repr(out).encode())
""", port=7100)
    got = []
    done = threading.Event()

    def take(connection):
        got.append(b"".join(iter(lambda: connection.recv(65536), b"")))
        done.set()
    with peer_listens(7101, take):
        for _ in range(2):
            socket.create_connection((PROGRAM, 7100), timeout=5, source_address=(PEER, 0)).close()
        check(done.wait(10), "nothing was said")
    return got


def waits_for_many(world):
    """A listener and its connections in one epoll; 300 of them at once."""
    script_in_background(world, """
l = listener(7100, backlog=400)
e = select.epoll()
e.register(l, select.EPOLLIN)
open_ones = {}
while True:
    for fd, events in e.poll():
        if fd == l.fileno():
            c, _ = l.accept()
            open_ones[c.fileno()] = c
            e.register(c, select.EPOLLIN)
        elif data := open_ones[fd].recv(100):
            open_ones[fd].send(data)
        else:
            e.unregister(fd)
            open_ones.pop(fd).close()
""", port=7100)
    clients = [socket.create_connection((PROGRAM, 7100), timeout=10) for _ in range(300)]
    for i, c in enumerate(clients):
        c.sendall(str(i).encode())
    same = [c.recv(100) == str(i).encode() for i, c in enumerate(clients)]
    for c in clients:
        c.close()
    return all(same), len(same)


def accepts_late(world):
    """More connections wait than a socket pair has room for bytes, one a segment."""
    script_in_background(world, """
l = listener(7100, backlog=600)
m = listener(7101)
m.accept()
for _ in range(600):
    c, _ = l.accept()
    c.sendall(b"late")
    c.close()
""", port=7101)
    clients = [socket.create_connection((PROGRAM, 7100), timeout=20) for _ in range(600)]
    time.sleep(0.3)
    socket.create_connection((PROGRAM, 7101), timeout=10).close()
    return {c.recv(10) for c in clients}


# --- how a connection ends -----------------------------------------------------------------------------------------------

def half_closes(world):
    def upper(connection):
        with connection:
            data = b"".join(iter(lambda: connection.recv(65536), b""))
            connection.sendall(data[::-1])

    def first(connection):  # the peer closes its side first and goes on reading
        connection.sendall(b"hello")
        connection.shutdown(socket.SHUT_WR)
        got.append(b"".join(iter(lambda: connection.recv(65536), b"")))
        connection.close()
    got = []
    with peer_listens(7000, upper), peer_listens(7001, first):
        said = probe(world, """
s = socket.create_connection((PEER, 7000))
s.sendall(b"abc" * 100000)
s.shutdown(socket.SHUT_WR)
say(error(s.send, b"x"), polled(s, select.POLLOUT))
got = all_of(s)
say(len(got), got == b"cba" * 100000, polled(s), s.recv(1))
t = socket.create_connection((PEER, 7001))
say(all_of(t), polled(t, select.POLLIN | select.POLLOUT | select.POLLRDHUP))
t.sendall(b"after the end" * 1000)
t.shutdown(socket.SHUT_WR)
time.sleep(0.2)
say(polled(t, select.POLLIN | select.POLLRDHUP))
""")
    return said, [len(data) for data in got]


def peer_resets(world):
    def after_data(connection):
        connection.sendall(b"last")
        connection.recv(4)
        reset(connection)
    with peer_listens(7000, reset), peer_listens(7001, after_data):
        return probe(world, """
s = socket.create_connection((PEER, 7000))
say(error(s.recv, 10), error(s.recv, 10), error(s.send, b"x"), polled(s, select.POLLIN))
t = socket.create_connection((PEER, 7001))
t.sendall(b"read")
say(polled(t, 0), t.recv(10), error(t.recv, 10))
u = socket.create_connection((PEER, 7000))
say(polled(u, 0), errno.errorcode[u.getsockopt(1, socket.SO_ERROR)], u.getsockopt(1, socket.SO_ERROR))
""")


def resets_the_peer(world):
    """By closing with something unread, and by SO_LINGER of no time."""
    ends = []

    def look(connection):
        connection.sendall(b"x" * 1000)
        try:
            ends.append(("end", connection.recv(100)))
            ends.append(("then", connection.recv(100)))
        except OSError as error:
            ends.append(("error", error.errno))
        connection.close()
    with peer_listens(7000, look):
        said = probe(world, """
s = socket.create_connection((PEER, 7000))
polled(s, select.POLLIN)
s.close()
time.sleep(0.2)
t = socket.create_connection((PEER, 7000))
all = t.recv(1000, socket.MSG_WAITALL)
t.setsockopt(1, socket.SO_LINGER, struct.pack("ii", 1, 0))
t.close()
time.sleep(0.2)
u = socket.create_connection((PEER, 7000))
all = u.recv(1000, socket.MSG_WAITALL)
u.close()
time.sleep(0.2)
say("done")
""")
    return said, ends


def closes_the_listener_first(world):
    """Connections that nobody has accepted are reset."""
    script = script_in_background(world, """
l = listener(7100)
while len(polled(l, select.POLLIN)) == 0: pass
time.sleep(0.3)
l.close()
time.sleep(5)
""", port=7100)
    clients = [socket.create_connection((PROGRAM, 7100), timeout=10) for _ in range(3)]
    ends = []
    for c in clients:
        try:
            ends.append(c.recv(10))
        except OSError as error:
            ends.append(error.errno)
    check(script.poll() is None, "the program has ended")
    return ends


def last_words_arrive(world):
    """What was written right before the program's end, to a peer that takes its time."""
    sizes = []

    def slowly(connection):
        time.sleep(0.5)
        sizes.append(sum(len(part) for part in iter(lambda: connection.recv(65536), b"")))
    with peer_listens(7000, slowly):
        said = probe(world, """
s = socket.create_connection((PEER, 7000))
s.settimeout(0.1)
sent = 0
try:
    while sent < 50_000_000: sent += s.send(b"x" * 65536)
except OSError: pass
say(0 < sent < 50_000_000)
s.settimeout(None)
s.sendall(b"y" * (20_000_000 - sent))
os._exit(0)
""")
        for _ in range(200):
            if sizes:
                break
            time.sleep(0.05)
    return said, sizes


def sends_a_file(world):
    sizes = []
    done = threading.Event()

    def take(connection):
        sizes.append(sum(len(part) for part in iter(lambda: connection.recv(65536), b"")))
        done.set()
    path = world.file("file", 5_000_000)
    with peer_listens(7000, take):
        said = probe(world, f"""
s = socket.create_connection((PEER, 7000))
with open("{path}", "rb") as f: say(s.sendfile(f))
s.sendmsg([b"abc", b"def"])
array.array("B", b"more")
os.writev(s.fileno(), [b"x", b"yz"])
s.close()
""")
        done.wait(10)
    return said, sizes


# --- processes and threads -----------------------------------------------------------------------------------------------

def workers_share_a_listener(world):
    script_in_background(world, """
l = listener(7100)
workers = []
def end(*_):
    for worker in workers: os.kill(worker, signal.SIGKILL)
    os._exit(0)
signal.signal(signal.SIGTERM, end)
for _ in range(3):
    workers.append(os.fork())
    if workers[-1] == 0:
        while True:
            c, _ = l.accept()
            with c:
                while part := c.recv(65536): c.sendall(part)
l.close()
os.wait()
""", port=7100)
    results = []
    for i in range(20):
        with socket.create_connection((PROGRAM, 7100), timeout=5) as s:
            s.sendall(b"hello")
            results.append(s.recv(100))
    return results


def hands_sockets_on(world):
    """Over exec, as inetd does; over a Unix socket; by dup."""
    with peer_listens(7000, echo):
        return probe(world, """
s = socket.create_connection((PEER, 7000))
subprocess.run([sys.executable, "-c", "import os,socket; s=socket.socket(fileno=0); print(s.getpeername(), flush=True); s.sendall(b'inherited')"], stdin=s)
say(s.recv(100))
a, b = socket.socketpair()
if os.fork() == 0:
    _, fds, _, _ = socket.recv_fds(b, 10, 1)
    t = socket.socket(fileno=fds[0])
    t.sendall(b"passed")
    say(t.getpeername(), t.recv(100))
    os._exit(0)
socket.send_fds(a, [b"x"], [s.fileno()])
os.wait()
d = socket.socket(fileno=os.dup(s.fileno()))
s.close()
d.sendall(b"dup")
say(d.recv(100), d.getpeername())
""")


def threads_block(world):
    """Threads in accept, connect and recv, and one that ends the listener under the others."""
    with peer_listens(7000, echo):
        return probe(world, """
l = listener(7100)
results = []
def serve():
    try:
        while True:
            c, _ = l.accept()
            with c: c.sendall(c.recv(100))
    except OSError as e: results.append(errno.errorcode[e.errno])
servers = [threading.Thread(target=serve) for _ in range(3)]
for t in servers: t.start()
def ask(i):
    with socket.create_connection((PROGRAM, 7100)) as s:
        s.sendall(str(i).encode())
        return s.recv(100) == str(i).encode()
say([ask(i) for i in range(10)])
time.sleep(0.1)
l.shutdown(socket.SHUT_RDWR)
for t in servers: t.join(5)
say(results)
def far(i):
    s = socket.create_connection((PEER, 7000))
    s.sendall(bytes([i]) * 10000)
    s.shutdown(socket.SHUT_WR)
    results.append(all_of(s) == bytes([i]) * 10000)
results = []
clients = [threading.Thread(target=far, args=(i,)) for i in range(20)]
for t in clients: t.start()
for t in clients: t.join(10)
say(results)
""")


def signals_interrupt(world):
    return probe(world, """
def handler(*_): raise KeyboardInterrupt
signal.signal(signal.SIGALRM, handler)
def interrupted(call, *arguments):
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    try:
        return call(*arguments)
    except KeyboardInterrupt:
        return "interrupted"
l = listener(7100)
say(interrupted(l.accept))
u = socket.socket(type=socket.SOCK_DGRAM)
u.bind((PROGRAM, 7101))
say(interrupted(u.recvfrom, 10))
c = socket.create_connection((PROGRAM, 7100))
say(interrupted(c.recv, 1))
d, name = l.accept()
say(name[0] == PROGRAM, name[1] == c.getsockname()[1])
""")


def ends_as_the_program_does(world):
    codes = [world.run("sh", "-c", words, ok=False).code for words in ("exit 0", "exit 3", "kill -TERM $$", "kill -KILL $$")]
    codes = [code if code >= 0 else 128 - code for code in codes]
    waiting = script_in_background(world, """
def handler(*_):
    print("ended", flush=True)
    sys.exit(9)
signal.signal(signal.SIGTERM, handler)
l = listener(7100)
l.accept()
""", port=7100)
    waiting.send_signal(signal.SIGTERM)
    return codes, waiting.wait(10)


def port_is_free_again(world):
    return probe(world, """
for _ in range(50):
    l = listener(7100)
    c = socket.create_connection((PROGRAM, 7100))
    d, _ = l.accept()
    d.close()
    c.close()
    l.close()
say("free")
l = listener(7100)
m = socket.socket()
m.setsockopt(1, socket.SO_REUSEADDR, 1)
say(error(m.bind, (PROGRAM, 7100)), error(m.bind, ("10.9.9.9", 1)))
a, b = socket.socket(), socket.socket()
for s in (a, b):
    s.setsockopt(1, socket.SO_REUSEPORT, 1)
    s.bind((PROGRAM, 7200))
    s.listen()
say("shared")
""")


def loopback_is_inside(world):
    return probe(world, """
for host in ("127.0.0.1", PROGRAM):
    l = listener(7300, "0.0.0.0")
    c = socket.create_connection((host, 7300))
    d, name = l.accept()
    c.sendall(b"x" * 100000)
    c.shutdown(socket.SHUT_WR)
    say(len(all_of(d)), name[0], c.getpeername(), d.getsockname())
    for s in (l, c, d): s.close()
u, v = [socket.socket(type=socket.SOCK_DGRAM) for _ in range(2)]
u.bind(("127.0.0.1", 7301))
v.sendto(b"abc", ("127.0.0.1", 7301))
say(u.recvfrom(100)[0], u.getsockname())
""")


# --- datagrams -----------------------------------------------------------------------------------------------------------

@contextlib.contextmanager
def peer_datagrams(port):
    """Returns what it gets, twice what begins with '2'."""
    with socket.socket(type=socket.SOCK_DGRAM) as s:
        s.bind((PEER, port))

        def serve():
            while True:
                try:
                    data, source = s.recvfrom(65536)
                except OSError:
                    return
                if data == b"stop":
                    return
                for _ in range(2 if data[:1] == b"2" else 1):
                    s.sendto(data, source)
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield
        finally:
            with socket.socket(type=socket.SOCK_DGRAM) as stop:
                stop.sendto(b"stop", (PEER, port))
            thread.join(5)


def datagrams(world):
    with peer_datagrams(7000), peer_datagrams(7001):
        return probe(world, """
u = socket.socket(type=socket.SOCK_DGRAM)
say(u.getsockopt(1, socket.SO_TYPE), error(u.getpeername), error(u.listen), polled(u, select.POLLOUT))
u.bind((PROGRAM, 7500))
for port in (7000, 7001): u.sendto(b"to %d" % port, (PEER, port))
say(sorted(u.recvfrom(100) for _ in range(2)))
u.sendto(b"", (PEER, 7000))
say(u.recvfrom(100))
u.sendto(b"x" * 1000, (PEER, 7000))
say(len(u.recv(2000)))
u.sendto(b"y" * 9000, (PEER, 7000))
say(u.recvfrom(10, socket.MSG_PEEK), u.recvmsg(100)[2], polled(u, select.POLLIN, 0))
u.sendto(b"y" * 100, (PEER, 7000))
say(u.recvmsg(10), u.sendmsg([b"ab", b"cd"], [], 0, (PEER, 7001)), u.recvmsg(10, 100))
u.setsockopt(socket.IPPROTO_IP, IP_RECVTTL, 1)
u.sendto(b"ttl", (PEER, 7000))
say(polled(u, select.POLLIN), u.recvmsg(10, 100), error(u.recv, 10, socket.MSG_ERRQUEUE | socket.MSG_DONTWAIT))
u.sendto(b"ttl", (PEER, 7000))
say(polled(u, select.POLLIN), u.recvmsg(10, 4)[1:3])
u.setsockopt(socket.IPPROTO_IP, IP_RECVTTL, 0)
say(error(u.sendto, b"z" * 70000, (PEER, 7000)), error(u.sendto, b"z", ("255.255.255.255", 1)))
u.setblocking(False)
say(error(u.recvfrom, 10), error(u.recv, 10), error(u.recvmsg, 10))
u.settimeout(0.1)
say(error(u.recvfrom, 10))
u.setblocking(True)
u.connect((PEER, 7000))
say(u.getpeername(), u.send(b"abc"), u.recv(10), os.write(u.fileno(), b"def"), os.read(u.fileno(), 10), u.send(b"ghi"), u.recvfrom(10))
u.sendto(b"elsewhere", (PEER, 7001))
u.send(b"here")
say(u.recv(100))
time.sleep(0.2)  # the other answer is dropped only while there is a connection
libc = ctypes.CDLL(None, use_errno=True)
say(libc.connect(u.fileno(), struct.pack("H14x", 0), 16), error(u.getpeername))
u.sendto(b"again", (PEER, 7001))
say(u.recvfrom(10))
""")


def several_messages_at_once(world):
    with peer_datagrams(7000):
        return probe(world, """
class iovec(ctypes.Structure): _fields_ = [("base", ctypes.c_void_p), ("len", ctypes.c_size_t)]
class msghdr(ctypes.Structure): _fields_ = [("name", ctypes.c_void_p), ("namelen", ctypes.c_uint), ("iov", ctypes.POINTER(iovec)), ("iovlen", ctypes.c_size_t), ("control", ctypes.c_void_p), ("controllen", ctypes.c_size_t), ("flags", ctypes.c_int)]
class mmsghdr(ctypes.Structure): _fields_ = [("hdr", msghdr), ("len", ctypes.c_uint)]
def messages(buffers, names):
    rows = (mmsghdr * len(buffers))()
    for row, b, n in zip(rows, buffers, names):
        row.hdr.iov = ctypes.pointer(iovec(ctypes.addressof(b), len(b)))
        row.hdr.iovlen = 1
        row.hdr.name, row.hdr.namelen = ctypes.addressof(n), len(n)
    return rows
name = struct.pack("!2sH4s8x", struct.pack("H", 2), 7000, socket.inet_aton(PEER))
libc = ctypes.CDLL(None, use_errno=True)
u = socket.socket(type=socket.SOCK_DGRAM)
u.bind((PROGRAM, 7500))
out = messages([ctypes.create_string_buffer(t, len(t)) for t in (b"one", b"four", b"eleven")], [ctypes.create_string_buffer(name, 16)] * 3)
say(libc.sendmmsg(u.fileno(), out, 3, 0), [row.len for row in out])
time.sleep(0.3)
buffers = [ctypes.create_string_buffer(5) for _ in range(4)]
names = [ctypes.create_string_buffer(16) for _ in range(4)]
got = messages(buffers, names)
n = libc.recvmmsg(u.fileno(), got, 4, socket.MSG_DONTWAIT, None)
say(n, [(row.len, row.hdr.namelen, row.hdr.flags) for row in got[:n]], [b.raw for b in buffers[:n]], [x.raw == name for x in names[:n]])
""")


def datagrams_refused(world):
    return probe(world, """
u = socket.socket(type=socket.SOCK_DGRAM)
u.settimeout(3)
u.connect((PEER, 7999))
u.send(b"x")
say(error(u.recvfrom, 10))
u.send(b"x")
time.sleep(0.3)
say(errno.errorcode[u.getsockopt(1, socket.SO_ERROR)], u.getsockopt(1, socket.SO_ERROR))
v = socket.socket(type=socket.SOCK_DGRAM)
v.connect((PEER, 7999))
v.send(b"x")
time.sleep(0.3)
say(error(v.sendmsg, [b"y"]))
""")


def datagrams_in_bulk(world):
    """Many at once wait for a program that is not reading, within its buffer."""
    script_in_background(world, """
u = socket.socket(type=socket.SOCK_DGRAM)
u.bind((PROGRAM, 7500))
s = socket.socket()
s.bind((PROGRAM, 7501))
s.listen()
c, _ = s.accept()
u.settimeout(2)
count = 0
try:
    while count < 100:
        u.recv(2000)
        count += 1
except OSError: pass
c.sendall(str(count).encode())
""", port=7501)
    with socket.socket(type=socket.SOCK_DGRAM) as s:
        for _ in range(100):
            s.sendto(b"x" * 500, (PROGRAM, 7500))
    with socket.create_connection((PROGRAM, 7501), timeout=10) as s:
        return s.recv(100)


def errors_of_datagrams(world):
    return probe(world, """
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
IP_RECVERR = 11
u.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
u.setsockopt(socket.IPPROTO_IP, IP_RECVTTL, 1)
for _ in range(2):
    u.sendto(b"to nobody", (PEER, 7999))
    say(len(polled(u, select.POLLIN)), error(u.recvfrom, 10))
    data, control, flags, name = u.recvmsg(100, 512, socket.MSG_ERRQUEUE | socket.MSG_DONTWAIT)
    say(data, name, hex(flags), [(level, kind) for level, kind, _ in control])
    told = control[-1][2]
    say(struct.unpack("IBBB", told[:7]), socket.inet_ntoa(told[20:24]))
    say(error(u.recvmsg, 10, 100, socket.MSG_ERRQUEUE | socket.MSG_DONTWAIT))
""")


def groups(world):
    return probe(world, """
GROUP = "239.7.7.7"
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
u.bind(("", 7300))
IP_PKTINFO, here = 8, socket.inet_aton(PROGRAM)
u.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(GROUP) + here)
u.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, here)
u.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
say(error(u.setsockopt, socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(GROUP) + here))
u.sendto(b"everybody", (GROUP, 7300))
data, control, flags, name = u.recvmsg(100, 200)
say(data, name, flags, [(level, kind, socket.inet_ntoa(told[8:12])) for level, kind, told in control])
u.setsockopt(socket.IPPROTO_IP, socket.IP_DROP_MEMBERSHIP, socket.inet_aton(GROUP) + here)
u.sendto(b"nobody", (GROUP, 7300))
u.settimeout(0.1)
say(error(u.recv, 10))
""")


# --- connections that begin with data ------------------------------------------------------------------------------------

def begins_with_data(world):
    """The first connection to a peer brings its cookie, the others carry data in the SYN: TCP_INFO says so."""
    try:
        pathlib.Path("/proc/sys/net/ipv4/tcp_fastopen").write_text("3")
    except OSError as error:
        raise Skip(f"tcp_fastopen of this namespace cannot be set: {error}") from error
    world.peer("ip", "tcp_metrics", "flush", "all", ok=False)  # with the cookies in it
    with peer_listens(7000, echo, fast_open=16):
        return probe(world, """
TCP_FASTOPEN_CONNECT = 30
def in_syn(s): return bool(s.getsockopt(6, socket.TCP_INFO, 8)[5] & 32)
def answer(s):
    got = b""
    while len(got) < 8: got += s.recv(8)
    return got, in_syn(s)
for _ in range(2):
    s = socket.socket()
    say(s.sendto(b"question", socket.MSG_FASTOPEN, (PEER, 7000)), answer(s), s.getpeername(), s.send(b"and more"), answer(s))
s = socket.socket()
say(s.sendmsg([b"ques", b"tion"], [], socket.MSG_FASTOPEN, (PEER, 7000)), answer(s))
say(error(s.sendto, b"again", socket.MSG_FASTOPEN, (PEER, 7000)))
s = socket.socket()
s.setsockopt(6, TCP_FASTOPEN_CONNECT, 1)
s.connect((PEER, 7000))
say(s.send(b"question"), answer(s))
s = socket.socket()
s.setblocking(False)
say(s.sendto(b"question", socket.MSG_FASTOPEN, (PEER, 7000)), polled(s, select.POLLIN), answer(s))
s = socket.socket()
s.setblocking(False)
say(error(s.sendto, b"question", socket.MSG_FASTOPEN, (PEER, 7001)), polled(s, select.POLLIN)[0:1] != [])
""")


# --- raw sockets -----------------------------------------------------------------------------------------------------

def raw_echo(world):
    """An ICMP echo by hand: what comes back begins with its IP header."""
    return probe(world, """
def checksum(b):
    sum_ = sum(struct.unpack("!%dH" % (len(b) // 2), b))
    while sum_ >> 16: sum_ = (sum_ >> 16) + (sum_ & 0xffff)
    return ~sum_ & 0xffff
s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
s.settimeout(5)
request = struct.pack("!BBHHH", 8, 0, 0, 77, 1) + b"abcdefgh"
request = request[:2] + struct.pack("!H", checksum(request)) + request[4:]
say(s.sendto(request, (PEER, 0)))
packet = request
while packet[0] != 0x45 or packet[20] == 8: packet, source = s.recvfrom(2000)  # natively it hears the request, too
say(source, len(packet), hex(packet[0]), packet[9], packet[20:].hex())
""")


# --- other families ------------------------------------------------------------------------------------------------------

def other_families_are_the_kernels(world):
    return probe(world, """
a, b = socket.socketpair()
a.sendmsg([b"abc"])
say(b.recvmsg(10)[0], a.getsockname(), a.getsockopt(1, socket.SO_DOMAIN))
l = socket.socket(socket.AF_UNIX)
l.bind("\\0sluice-probe-%d" % os.getpid())
l.listen()
c = socket.socket(socket.AF_UNIX)
c.connect(l.getsockname())
d, _ = l.accept()
c.sendall(b"unix")
say(d.recv(10), len(struct.pack("iII", *c.getsockopt(1, socket.SO_PEERCRED, 12) and struct.unpack("iII", c.getsockopt(1, socket.SO_PEERCRED, 12)))))
n = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
n.bind((0, 0))
say(n.getsockname()[0] != 0)
say(len(socket.if_nameindex()) > 0)
""")


CASES = [names_and_options, connects_without_blocking, connects_again_after_refusal, accepts_with_flags, waits_for_many, accepts_late, half_closes,
         peer_resets, resets_the_peer, closes_the_listener_first, last_words_arrive, sends_a_file, workers_share_a_listener, hands_sockets_on, threads_block,
         signals_interrupt, ends_as_the_program_does, port_is_free_again, loopback_is_inside, datagrams, several_messages_at_once,
         datagrams_refused, datagrams_in_bulk, errors_of_datagrams, groups, begins_with_data, raw_echo, other_families_are_the_kernels]
