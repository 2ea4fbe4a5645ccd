"""Opening a connection to an upstream: name, proxy (HTTPS_PROXY, NO_PROXY), TLS, all within one deadline.

Private CA bundles: a deployment's `ca_bundle`, else SSL_CERT_FILE or the system's. Certificates are always verified.
"""

import asyncio
import base64
import ipaddress
import ssl
from collections.abc import Awaitable, Callable
from urllib.parse import SplitResult, unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from interlock.gateway.http.client import Connection

_PROXY_ANSWER_BYTES_MAX = 16 * 1024


def tls_context(ca_bundle: str = "") -> ssl.SSLContext:
    """What upstreams are verified with.

    Raises: OSError: the bundle cannot be read (ssl.SSLError is one: it holds no certificate).
    """
    context = ssl.create_default_context(cafile=ca_bundle or None)
    context.set_alpn_protocols(["http/1.1"])
    return context


def proxy_for(url: SplitResult) -> SplitResult | None:
    """The proxy that the environment names for this URL; never one for this machine itself."""
    host = url.hostname or ""
    if host == "localhost" or _is_loopback(host) or proxy_bypass(url.netloc):
        return None
    proxies = getproxies()
    named = proxies.get(url.scheme) or proxies.get("all")
    return urlsplit(named if "//" in named else f"http://{named}") if named else None


def dialler(
    loop: asyncio.AbstractEventLoop, url: SplitResult, *, ca_bundle: str, timeout_s: float
) -> Callable[[Callable[[], Connection]], Awaitable[Connection]]:
    """How to reach the host of `url` (http or https)."""
    host = url.hostname or ""
    port = url.port or (443 if url.scheme == "https" else 80)
    context = tls_context(ca_bundle) if url.scheme == "https" else None
    proxy = proxy_for(url)

    async def dial(make: Callable[[], Connection]) -> Connection:
        async with asyncio.timeout(timeout_s):
            if proxy is None:
                _, connection = await loop.create_connection(make, host, port, ssl=context)
                return connection
            return await _through(loop, proxy, host, port, context, make)

    return dial


async def _through(
    loop: asyncio.AbstractEventLoop,
    proxy: SplitResult,
    host: str,
    port: int,
    context: ssl.SSLContext | None,
    make: Callable[[], Connection],
) -> Connection:
    """CONNECT through an HTTP proxy, for plain http upstreams as well: one path, and no proxy that rewrites."""
    tls = tls_context() if proxy.scheme == "https" else None
    transport, tunnel = await loop.create_connection(
        lambda: _Tunnel(loop), proxy.hostname or "", proxy.port or (443 if tls else 3128), ssl=tls
    )
    target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
    if proxy.username:
        login = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}".encode()
        lines.append(f"Proxy-Authorization: Basic {base64.b64encode(login).decode()}")
    transport.write(("\r\n".join(lines) + "\r\n\r\n").encode())
    try:
        await tunnel.established
        connection = make()
        if context is not None:
            secured = await loop.start_tls(transport, tunnel, context, server_hostname=host)
            if secured is None:
                raise OSError("the proxy closed the tunnel during the TLS handshake")
            transport = secured
        transport.set_protocol(connection)
        connection.connection_made(transport)
        return connection
    except BaseException:
        transport.abort()
        raise


class _Tunnel(asyncio.Protocol):
    """Waits for the proxy's answer to CONNECT."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.established: asyncio.Future[None] = loop.create_future()
        self._answer = b""

    def data_received(self, data: bytes) -> None:
        self._answer += data
        if self.established.done():
            return
        head, end, _ = self._answer.partition(b"\r\n\r\n")
        if end:
            status = head.split(b"\r\n", 1)[0].split(b" ")
            if len(status) > 1 and status[1] == b"200":
                self.established.set_result(None)
            else:
                line = head.split(b"\r\n", 1)[0][:100].decode("latin-1")
                self.established.set_exception(OSError(f"the proxy refused CONNECT: {line!r}"))
        elif len(self._answer) > _PROXY_ANSWER_BYTES_MAX:
            self.established.set_exception(OSError("the proxy's answer to CONNECT is too long"))

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.established.done():
            self.established.set_exception(exc or OSError("the proxy closed the connection"))


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
