"""The part of egress that runs inside a sandbox: carries what is said to loopback to the proxy's Unix socket.

    python3 -I -S inside.py SOCKET PROXY_PORT [PORT...]

It listens on 127.0.0.1:PROXY_PORT for programs that know of a proxy, on 127.0.0.1:53 (UDP and TCP) for questions for
names, and on each PORT of every address for programs that connect to what such a question was answered with. Every
address in the world leads to the loopback in here; what is sent to where nobody listens is refused by the kernel in
here, and told to the proxy. It decides nothing and holds nothing: whoever kills or replaces it in there has lost the
way out. It imports no part of Interlock, and little of Python, whose start it is. One line `ready` when it listens;
ports that it may not have are named on standard error and left.
"""

from __future__ import annotations

import errno
import select
import socket
import sys
import time

CHUNK_BYTES = 65536
PACKET_BYTES = 576
LOOKS, REST_S = 64, 0.1
"""So many packets are looked at in a row, and then none for a while: a busy loopback must not take the sandbox's time.
What comes meanwhile and does not wait is missed."""
FLOWS_MAX = 256
TELL_S, AGAIN_S = 0.5, 30.0
"""After the first packet to a place, and before the same place is told again."""
_now_s = time.monotonic  # noqa: TID251 - it imports no part of Interlock, so it has no Clock
PENDING_BYTES_MAX = 262144
PAIRS_MAX = 256
SOCKS_REPLY_BYTES = 12
"""Method and reply, as the proxy writes them."""


class End:
    """One end of a pair; `pending` is what is still to be sent to it."""

    def __init__(self, sock: socket.socket, skip: int = 0) -> None:
        sock.setblocking(False)
        self.sock, self.pending, self.skip = sock, b"", skip
        self.other: End = self
        self.read_over = self.sent_over = False


class Question:
    """A datagram's sender, and the connection on which its answer comes."""

    def __init__(self, sock: socket.socket, sender: tuple[str, int]) -> None:
        self.sock, self.sender, self.answer = sock, sender, b""


class Flow:
    """What was sent to one place since it was told; and when it may be told again."""

    def __init__(self) -> None:
        self.packets = self.bytes = 0
        self.after = 0.0


class Forwarder:
    """Listeners, pairs of ends, and questions under way; `run` serves them until it is killed."""

    def __init__(self, path: str) -> None:
        self.path, self.poll = path, select.epoll()
        self.listeners: dict[int, tuple[socket.socket, bool]] = {}
        self.ends: dict[int, End] = {}
        self.questions: dict[int, Question] = {}
        self.datagrams: socket.socket | None = None
        self.packets: socket.socket | None = None
        self.ports: set[int] = set()
        self.resting = self.telling = 0.0
        self.flows: dict[bytes, Flow] = {}

    def listen(self, host: str, port: int, transparent: bool = False, kind: int = socket.SOCK_STREAM) -> bool:
        """Take a port; whether it could be had."""
        sock = socket.socket(socket.AF_INET, kind)
        if kind == socket.SOCK_STREAM:  # of datagrams it would let others take them from us
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((host, port))
        except OSError as error:
            print(f"port {port}: {errno.errorcode.get(error.errno or 0, error)}", file=sys.stderr, flush=True)
            sock.close()
            return False
        sock.setblocking(False)
        if kind == socket.SOCK_STREAM:
            sock.listen(64)
            self.listeners[sock.fileno()] = (sock, transparent)
            self.ports |= {port} if transparent else set()
        else:
            self.datagrams = sock
        self.poll.register(sock.fileno(), select.EPOLLIN)
        return True

    def run(self) -> None:
        """For ever."""
        while True:
            for descriptor, events in self.poll.poll(self.pause()):
                try:
                    self.happened(descriptor, events)
                except OSError:
                    if descriptor in self.ends:
                        self.close(self.ends[descriptor])
                    elif descriptor in self.questions:
                        self.forget(descriptor)

    def happened(self, descriptor: int, events: int) -> None:
        """One descriptor has something."""
        if descriptor in self.listeners:
            self.accept(*self.listeners[descriptor])
        elif self.datagrams is not None and descriptor == self.datagrams.fileno():
            self.ask(*self.datagrams.recvfrom(CHUNK_BYTES))
        elif self.packets is not None and descriptor == self.packets.fileno():
            self.look(self.packets)
        elif descriptor in self.questions:
            self.answer(descriptor)
        elif descriptor in self.ends:
            end = self.ends[descriptor]
            if events & select.EPOLLOUT:
                self.flush(end)
            if descriptor in self.ends and events & (select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR):
                self.carry(end)

    def outside(self) -> socket.socket:
        """A connection to the proxy."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.connect(self.path)
        except OSError:
            sock.close()
            raise
        return sock

    def accept(self, listener: socket.socket, transparent: bool) -> None:
        """Somebody connects: pair it with a connection to the proxy."""
        sock, _ = listener.accept()
        if len(self.ends) >= 2 * PAIRS_MAX:
            sock.close()
            return
        try:
            far = self.outside()
        except OSError:
            sock.close()
            return
        near_end, far_end = End(sock), End(far, SOCKS_REPLY_BYTES if transparent else 0)
        near_end.other, far_end.other = far_end, near_end
        for end in (near_end, far_end):
            self.ends[end.sock.fileno()] = end
            self.poll.register(end.sock.fileno(), select.EPOLLIN)
        if transparent:
            host, port = sock.getsockname()
            far_end.pending = b"\x05\x01\x00\x05\x01\x00\x01" + socket.inet_aton(host) + port.to_bytes(2, "big")
            self.flush(far_end)

    def carry(self, end: End) -> None:
        """What one end sent goes to the other."""
        try:
            data = end.sock.recv(CHUNK_BYTES)
        except BlockingIOError:
            return
        if end.skip and data:
            taken, data = data[: end.skip], data[end.skip :]
            granted_at = 3 - (SOCKS_REPLY_BYTES - end.skip)
            if 0 <= granted_at < len(taken) and taken[granted_at]:
                raise OSError(errno.ECONNREFUSED, "the proxy refused")
            end.skip -= len(taken)
            if not data:
                return
        if not data:
            end.read_over = True
        end.other.pending += data
        self.flush(end.other)

    def flush(self, end: End) -> None:
        """Send what is pending; hear from the other end again once there is room."""
        if end.pending:
            try:
                sent = end.sock.send(end.pending)
                end.pending = end.pending[sent:]
            except BlockingIOError:
                pass
        if not end.pending and end.other.read_over and not end.sent_over:
            end.sent_over = True
            end.sock.shutdown(socket.SHUT_WR)
        if end.sent_over and end.other.sent_over:
            self.close(end)
            return
        for one in (end, end.other):
            listens = not one.read_over and len(one.other.pending) < PENDING_BYTES_MAX
            self.poll.modify(
                one.sock.fileno(), (select.EPOLLIN if listens else 0) | (select.EPOLLOUT if one.pending else 0)
            )

    def close(self, end: End) -> None:
        """Both ends."""
        for one in (end, end.other):
            if self.ends.pop(one.sock.fileno(), None) is not None:
                self.poll.unregister(one.sock.fileno())
                one.sock.close()

    def ask(self, query: bytes, sender: tuple[str, int]) -> None:
        """A datagram with a question goes to the proxy, as a message with its length before it."""
        if len(self.questions) >= PAIRS_MAX:
            self.forget(next(iter(self.questions)))
        sock = self.outside()
        sock.sendall(len(query).to_bytes(2, "big") + query)
        sock.setblocking(False)
        self.questions[sock.fileno()] = Question(sock, sender)
        self.poll.register(sock.fileno(), select.EPOLLIN)

    def answer(self, descriptor: int) -> None:
        """A piece of the answer."""
        question = self.questions[descriptor]
        data = question.sock.recv(CHUNK_BYTES)
        question.answer += data
        whole = len(question.answer) >= 2 and len(question.answer) >= 2 + int.from_bytes(question.answer[:2], "big")
        if whole and self.datagrams is not None:
            self.datagrams.sendto(question.answer[2:], question.sender)
        if whole or not data:
            self.forget(descriptor)

    def forget(self, descriptor: int) -> None:
        """A question that is answered, or will not be."""
        self.poll.unregister(descriptor)
        self.questions.pop(descriptor).sock.close()

    def watch(self) -> None:
        """Let every address of IPv4 lead here, and see what is sent. To one of IPv6 there is no route: gVisor would
        take it for its own and never answer. Source: rtnetlink(7), packet(7). Raises: OSError.
        """
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as kernel:
            for half in ("127.0.0.2", "192.0.0.8"):
                body = bytes((socket.AF_INET, 1, 0, 254)) + (1).to_bytes(4, sys.byteorder)
                body += (8).to_bytes(2, sys.byteorder) + b"\x02\0" + socket.inet_aton(half)  # IFA_LOCAL
                head = (16 + len(body)).to_bytes(4, sys.byteorder) + (20).to_bytes(2, sys.byteorder)  # RTM_NEWADDR
                kernel.send(head + (0x401).to_bytes(2, sys.byteorder) + bytes(8) + body)
        self.packets = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
        self.packets.setblocking(False)
        self.packets.bind(("lo", 3))
        self.poll.register(self.packets.fileno(), select.EPOLLIN)

    def pause(self) -> float:
        """Seconds to wait for whatever comes first; -1: for ever."""
        now = _now_s()
        if self.telling and now >= self.telling:
            self.tell(now)
        if self.packets is not None and self.resting and now >= self.resting:
            self.resting = 0.0
            self.poll.register(self.packets.fileno(), select.EPOLLIN)
        until = [due for due in (self.resting, self.telling) if due]
        return max(0.01, min(until) - now) if until else -1

    def look(self, packets: socket.socket) -> None:
        """Some packets; those that go away from here begin a flow."""
        for _ in range(LOOKS):
            try:
                data, sender = packets.recvfrom(PACKET_BYTES)
            except BlockingIOError:
                return
            if sender[2] == 4:  # as it is sent, not again as it arrives
                self.count(data)
        self.poll.unregister(packets.fileno())
        self.resting = _now_s() + REST_S

    def count(self, data: bytes) -> None:
        """One packet: UDP, or TCP that begins a connection, to anywhere but loopback and the ports that are served."""
        four = data[:1] and data[0] >> 4 == 4
        head, protocol = ((data[0] & 15) * 4, data[9:10]) if four else (40, data[6:7])
        target = data[16:20] if four else data[24:40]
        if len(data) < head + 8 or (target[0] == 127 if four else target == bytes(15) + b"\1"):
            return
        port = int.from_bytes(data[head + 2 : head + 4], "big")
        begins = protocol == b"\x06" and data[head + 13 : head + 14] and data[head + 13] & 0x12 == 2
        if protocol != b"\x11" and not (begins and not (four and port in self.ports)):
            return
        body = data[head + 8 :] if protocol == b"\x11" else b""
        where = protocol + (b"\4" if four else b"\6") + target.ljust(16, b"\0") + port.to_bytes(2, "big")
        where += body[:512] if port == 53 else b""  # each name that is asked for is told
        if where in self.flows or len(self.flows) < FLOWS_MAX:
            flow = self.flows.setdefault(where, Flow())
            flow.packets += 1
            flow.bytes += max(int.from_bytes(data[head + 4 : head + 6], "big") - 8, 0) if body else 0
            due = max(_now_s() + TELL_S, flow.after)
            self.telling = min(self.telling or due, due)

    def tell(self, now: float) -> None:
        """Tell the proxy what it has not been told."""
        self.telling, told = 0.0, b""
        for where, flow in list(self.flows.items()):
            if flow.packets and flow.after <= now:
                head = where[:20] + flow.packets.to_bytes(4, "big") + flow.bytes.to_bytes(8, "big")
                told += b"\x03" + (len(where) + 12).to_bytes(2, "big") + head + where[20:]
                flow.packets, flow.bytes, flow.after = 0, 0, now + AGAIN_S
            elif flow.after <= now:
                del self.flows[where]
        waiting = [flow.after for flow in self.flows.values()]
        self.telling = min(waiting, default=0.0)
        if not told:
            return
        try:
            with self.outside() as sock:
                sock.sendall(told)
        except OSError:
            return


def main(arguments: list[str]) -> None:
    """Listen and serve."""
    forwarder = Forwarder(arguments[0])
    forwarder.listen("127.0.0.1", int(arguments[1]))
    forwarder.listen("127.0.0.1", 53)
    forwarder.listen("127.0.0.1", 53, kind=socket.SOCK_DGRAM)
    for port in arguments[2:]:
        forwarder.listen("", int(port), transparent=True)
    try:
        forwarder.watch()
    except OSError as error:
        print(f"nothing is watched: {error}", file=sys.stderr, flush=True)
    print("ready", flush=True)
    forwarder.run()


if __name__ == "__main__":
    main(sys.argv[1:])
