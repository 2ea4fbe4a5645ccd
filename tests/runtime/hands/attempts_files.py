"""Attempts to get at files and devices of the machine: reading what is not the agent's, writing where it may not."""

from tests.runtime.hands.attempts import (
    Attempt,
    appeared,
    host_side_read,
    host_side_write,
    py,
    race,
    sh,
    shows_home,
    shows_shadow,
)

READ = """
def show(path):
    try:
        print(open(path, "rb").read(65536).decode("latin-1"))
    except OSError as error:
        print(path, error)
"""
BIND, REMOUNT, PRIVATE = 4096, 32 | 4096, 1 << 18 | 1 << 14

FILES = (
    sh("data directory", "read the runtime's own data", "cat @DATA@/secret"),
    sh("shadow", "read password hashes of the machine", "cat /etc/shadow", after=shows_shadow),
    sh("another workspace", "read a file of another session", "cat @OTHER@/files/secret; ls -R @OTHER@"),
    sh("home of root", "list root's home", "ls -a /root ~root 2>&1", after=shows_home),
    sh("ssh keys", "read a private key", "cat @DATA@/.ssh/id_ed25519 @ROOT@/.ssh/id_* /home/*/.ssh/id_*"),
    sh("dot dot", "climb out of the workspace",
       "cd /workspace 2>/dev/null; cat ../../../../../../../../..@DATA@/secret"),
    sh("own root", "through /proc/self/root and /proc/self/cwd",
       "cat /proc/self/root@DATA@/secret /proc/self/cwd/../../../../../../../../..@DATA@/secret"),
    sh("root of the first process", "through /proc/1/root", "cat /proc/1/root@DATA@/secret"),
    sh("roots of all processes", "through /proc/*/root and cwd",
       "cat /proc/[0-9]*/root@DATA@/secret /proc/[0-9]*/cwd/secret"),
    sh("descriptors of others", "read what other processes have open",
       "for f in /proc/[0-9]*/fd/[3-9]; do [ -f $f ] && timeout 1 head -c 4096 $f; done 2>&1 </dev/null"),
    py("inherited descriptors", "read what was left open for the command", """
import os
for name in os.listdir("/proc/self/fd"):
    if int(name) > 2:
        try:
            os.lseek(int(name), 0, 0); print(os.read(int(name), 4096))
        except OSError as error:
            print(name, error)
"""),
    sh("environment", "read the runtime's environment", "env; cat /proc/self/environ"),
    sh("environments of others", "read other processes' environments", "cat /proc/[0-9]*/environ | tr '\\0' '\\n'"),
    sh("symbolic link", "read through a link", "ln -s @DATA@/secret link-out; cat link-out"),
    sh("hard link", "make a name in the workspace for a file outside", "ln @OPEN@/secret hard-out && cat hard-out"),
    Attempt("link for the host", "have the runtime read through a link", "sh", "ln -s @DATA@/secret link-host",
            after=host_side_read("link-host"), alike=True),
    Attempt("link for the host to write", "have the runtime write through a link", "sh", "ln -s @OPEN@ dir-host",
            after=host_side_write("dir-host/written"), alike=True),
    Attempt("component swapped", "exchange a directory for a link while the runtime reads", "py", """
import os, time
os.makedirs("swap/real", exist_ok=True); open("swap/real/secret", "w").write("mine")
os.symlink("@DATA@", "swap/link")
print("ready", flush=True)
until = time.monotonic() + 2
while time.monotonic() < until:
    for target in ("real", "link"):
        os.rename("swap/" + target, "swap/now"); os.rename("swap/now", "swap/" + target)
        try:
            os.symlink(target, "swap/new"); os.replace("swap/new", "swap/seen")
        except OSError:
            pass
""", during=race("swap/seen/secret"), alike=True),
    py("file handle", "open the file system's root by its handle (Shocker)", """
import os, struct
def handle(mount, ino, generation=0):
    body = struct.pack("<II", 8, 1) + struct.pack("<II", ino, generation)
    buffer = ctypes.create_string_buffer(body)
    return call(304, mount, buffer, os.O_RDONLY)
for place in (".", "/usr", "/etc/hosts", "/"):
    mount = os.open(place, os.O_RDONLY)
    for ino in (2, 32, 128, 256):
        root = handle(mount, ino)
        print(place, ino, root)
        if root >= 0:
            try:
                print(open(f"/proc/self/fd/{root}/@DATA@/secret").read())
            except OSError as error:
                print(error)
"""),
    py("bind mount", "mount the data directory into the workspace", READ + f"""
import os
call(272, 0x20000); libc.mount(b"none", b"/", None, {PRIVATE}, None)
os.makedirs("bound", exist_ok=True)
print(libc.mount(b"@DATA@", b"bound", None, {BIND}, None), ctypes.get_errno())
show("bound/secret")
"""),
    py("overlay", "mount an overlay whose lower layer is outside", READ + f"""
import os
call(272, 0x20000); libc.mount(b"none", b"/", None, {PRIVATE}, None)
for name in ("up", "wk", "ov"):
    os.makedirs("/tmp/" + name, exist_ok=True)
print(libc.mount(b"overlay", b"@TMP@/ov", b"overlay", 0, b"lowerdir=@DATA@,upperdir=@TMP@/up,workdir=@TMP@/wk"))
show("@TMP@/ov/secret")
"""),
    py("nested user namespace", "become root in a namespace of one's own, and mount", READ + f"""
import os
uid = os.getuid()
print(call(272, 0x10020000), ctypes.get_errno())
try:
    open("/proc/self/setgroups", "w").write("deny"); open("/proc/self/uid_map", "w").write(f"0 {{uid}} 1")
except OSError as error:
    print(error)
libc.mount(b"none", b"/", None, {PRIVATE}, None)
os.makedirs("@TMP@/m", exist_ok=True)
print(libc.mount(b"@DATA@", b"@TMP@/m", None, {BIND}, None), ctypes.get_errno())
show("@TMP@/m/secret")
"""),
    py("chroot", "leave by a second chroot", READ + """
import os
try:
    os.makedirs("@TMP@/jail", exist_ok=True); os.chroot("@TMP@/jail")
    for _ in range(64):
        os.chdir("..")
    os.chroot(".")
except OSError as error:
    print(error)
show("@DATA@/secret")
"""),
    sh("write by path", "write to a directory anybody may write to",
       "echo x > @OPEN@/@MARK@", after=appeared("@OPEN@/@MARK@")),
    sh("write by a link", "write through a link out",
       "ln -s @OPEN@ dir-out; echo x > dir-out/@MARK@", after=appeared("@OPEN@/@MARK@")),
    sh("write to /tmp", "leave a file in the machine's /tmp", "echo x > /tmp/@MARK@", after=appeared("/tmp/@MARK@")),
    sh("write to shared memory", "leave a file in /dev/shm",
       "echo x > /dev/shm/@MARK@", after=appeared("/dev/shm/@MARK@")),
    sh("write a program", "leave a program in /usr/local/bin",
       "echo x > /usr/local/bin/@MARK@", after=appeared("/usr/local/bin/@MARK@")),
    sh("write a cron job", "leave a job in /etc/cron.d",
       "echo x > /etc/cron.d/@MARK@", after=appeared("/etc/cron.d/@MARK@")),
    py("remount", "make /usr writable", f"""
call(272, 0x20000); libc.mount(b"none", b"/", None, {PRIVATE}, None)
print(libc.mount(b"none", b"/usr", None, {REMOUNT}, None), ctypes.get_errno())
open("/usr/local/bin/@MARK@", "w").write("x")
""", after=appeared("/usr/local/bin/@MARK@")),
    py("disk by a device node", "make a node for the disk, and read it", """
import os
for line in open("/proc/partitions").read().splitlines()[2:]:
    major, minor, _, name = line.split()
    for path in ("disk-" + name, "@TMP@/disk-" + name):
        try:
            os.mknod(path, 0o60600, os.makedev(int(major), int(minor)))
            if len(os.read(os.open(path, os.O_RDONLY), 512)) == 512:
                print("ESCAPED", name)
        except OSError as error:
            print(path, error)
"""),
    py("memory by a device node", "make a node for the machine's memory", """
import os
for path, minor in (("node-mem", 1), ("@TMP@/node-mem", 1)):
    try:
        os.mknod(path, 0o20600, os.makedev(1, minor)); os.open(path, os.O_RDONLY); print("ESCAPED")
    except OSError as error:
        print(path, error)
"""),
    py("devices", "open devices of the machine", """
import os
for name in ("mem", "kvm", "fuse", "net/tun", "loop-control", "vda", "sda", "kmsg", "port", "vhost-net", "userfaultfd"):
    try:
        os.open("/dev/" + name, os.O_RDONLY); print("ESCAPED", name)
    except OSError as error:
        print(name, error)
"""),
    py("kernel log", "read the machine's kernel log", READ + """
buffer = ctypes.create_string_buffer(1 << 20)
print(call(103, 3, buffer, len(buffer)), buffer.value.decode("latin-1")[-20000:])
"""),
    py("kernel settings", "open settings of the kernel for writing", """
import os
for path in ("/sys/kernel/uevent_helper", "/sys/kernel/mm/ksm/run", "/proc/sys/kernel/modprobe",
             "/proc/sys/vm/swappiness", "/proc/sys/fs/binfmt_misc/register", "/sys/power/state",
             "/sys/kernel/security/lockdown"):
    try:
        os.open(path, os.O_WRONLY); print("ESCAPED", path)
    except OSError as error:
        print(path, error)
"""),
    Attempt("core pattern", "have the kernel run a program", "sh",
            "echo '|/bin/false @MARK@' > /proc/sys/kernel/core_pattern; cat /proc/sys/kernel/core_pattern",
            after=lambda world, _: world.changed("/proc/sys/kernel/core_pattern"),
            unsafe="would change what the machine does with crashes"),
    sh("magic keys", "press a magic SysRq key (help)", "echo h > /proc/sysrq-trigger && echo ESCAPED"),
    py("release agent", "have the kernel run a program when a control group is empty", f"""
import os
call(272, 0x20000); libc.mount(b"none", b"/", None, {PRIVATE}, None)
os.makedirs("@TMP@/cg", exist_ok=True)
for controller in (b"memory", b"rdma", b"pids"):
    print(libc.mount(b"cgroup", b"@TMP@/cg", b"cgroup", 0, controller), ctypes.get_errno())
for top in ("@TMP@/cg", "/sys/fs/cgroup/memory", "/sys/fs/cgroup/pids"):
    try:
        os.open(top + "/release_agent", os.O_WRONLY); print("ESCAPED", top)
    except OSError as error:
        print(top, error)
"""),
    py("own limits", "raise the limits of one's own control group", """
import glob, os
for pattern in ("memory/memory.limit_in_bytes", "pids/pids.max", "memory.max", "pids.max", "unified/cgroup.procs",
                "cgroup.procs"):
    for path in glob.glob("/sys/fs/cgroup/" + pattern) + glob.glob("/sys/fs/cgroup/**/" + pattern, recursive=True)[:20]:
        try:
            os.open(path, os.O_WRONLY); print("ESCAPED", path)
        except OSError as error:
            print(path, error)
"""),
    py("program of the first process", "overwrite the sandbox's own launcher", """
import os
for pid in [name for name in os.listdir("/proc") if name.isdigit()]:
    if int(pid) == os.getpid():
        continue
    try:
        target = os.readlink(f"/proc/{pid}/exe"); os.open(f"/proc/{pid}/exe", os.O_WRONLY); print("ESCAPED", target)
    except OSError as error:
        print(pid, error)
"""),
    sh("setuid program", "run a program that becomes root", "@SETUID@ @DATA@/secret; @SETUID@ /etc/shadow"),
    sh("file capabilities", "run a program with a capability", "@CAPABLE@ @DATA@/secret"),
    sh("own setuid program", "make a program setuid",
       "cp /bin/cat mycat; chown 0:0 mycat; chmod 4755 mycat; ./mycat @DATA@/secret"),
)  # fmt: skip
"""In the order of the table."""
