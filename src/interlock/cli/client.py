"""The control port, as the commands see it. Standard library only, and never through a proxy: the port is our own."""

import http.client
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from interlock.cli.output import complain
from interlock.datadir import DataDir, default_data_dir
from interlock.errors import CODES, InterlockError, LocalError, TransientError

DEFAULT_URL = "http://127.0.0.1:8082"
DEFAULT_API_URL = "http://127.0.0.1:8081"
CONNECT_S = 5.0
TIMEOUT_S = 60.0
LONG_S = 3600.0
"""Between two lines of a verification: each is one whole stream."""
ANSWER_BYTES_MAX = 64 << 20


class _Error(msgspec.Struct):
    code: str
    message: str
    field: str | None = None


class _Refusal(msgspec.Struct):
    error: _Error


class _Items(msgspec.Struct):
    items: list[Any]


class NoServer(TransientError):
    """Nobody answers at the URL."""


def data_dir(args: Any) -> Path:
    """`--data`, or the default."""
    return Path(args.data) if args.data else default_data_dir()


def log_dir(args: Any) -> Path:
    """Whose log is read: `--data`'s, that of the server at INTERLOCK_URL if it is set, or the default's.

    Raises: as `call`. LocalError: that server's directory is not on this machine.
    """
    if args.data or not os.environ.get("INTERLOCK_URL"):
        return data_dir(args)
    told = call(args, "GET", "/v1/status")
    root = Path(told["data"])
    try:
        public_key = DataDir(root).checkpoint_pub.read_text().strip()
    except (OSError, UnicodeDecodeError):
        public_key = ""
    if public_key != told["public_key"]:  # the same path may be another server's here
        what = f"the server at {url()} keeps its log in {root}, and on this machine that does not hold its public key"
        raise LocalError(
            f"{what}: run this where it runs, or name the directory with --data DIR", code="not_found", field="--data"
        )
    return root


def url(variable: str = "INTERLOCK_URL", default: str = DEFAULT_URL) -> str:
    """The environment's or the default, without a trailing slash. Raises: LocalError."""
    return _checked(variable, os.environ.get(variable, "") or default)


def _api_url(args: Any) -> str:
    """The api port's: `--api-url`, INTERLOCK_EVENTS_URL or the default. Raises: LocalError."""
    return _checked("--api-url", args.api_url) if args.api_url else url("INTERLOCK_EVENTS_URL", DEFAULT_API_URL)


def _checked(name: str, text: str) -> str:
    try:
        parts = urlsplit(text)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good:
        raise LocalError(f"{name} is {text!r}; write http://HOST:PORT", field=name)
    return text.rstrip("/")


def call(
    args: Any,
    method: str,
    path: str,
    *,
    params: Mapping[str, str | None] | None = None,
    body: Any = None,
    timeout_s: float = TIMEOUT_S,
) -> Any:
    """One call, its JSON answer decoded. Parameters that are None are left out.

    Raises: NoServer. LocalError: no key. InterlockError with the server's own code: it refused.
    """
    given = {name: value for name, value in (params or {}).items() if value is not None}
    target = f"{path}?{urlencode(given)}" if given else path
    return _decoded(_exchange(url(), _key(args), method, target, body, timeout_s))


def call_api(args: Any, method: str, path: str, scope: str, *, body: Any = None) -> Any:
    """One call of the api port, with the key of a tenant's program that holds the scope.

    An answer item by item is one, whatever its status.

    Raises: as `call`.
    """
    key = os.environ.get("INTERLOCK_EVENTS_KEY", "")
    if not key:  # never the admin's: it is not for that port, which may be another machine's
        how = f"interlock keys issue --tenant T --name N --scope {scope}"
        raise LocalError(f"no key: set INTERLOCK_EVENTS_KEY to one of: {how}", code="key_missing")
    base = _api_url(args)
    try:
        return _decoded(_exchange(base, _printable(key), method, path, body, control=False))
    except NoServer as error:
        raise NoServer(
            f"no server at {base}: start one with `interlock serve`, or name its api port: --api-url"
        ) from error


def server_url(args: Any) -> str:
    """Whom `run`, `sessions` and their like ask: `--api-url`, or the control port as all others. Raises: LocalError."""
    return _checked("--api-url", args.api_url) if args.api_url else url()


def key_of(args: Any) -> str:
    """INTERLOCK_KEY, or the admin's, which is for our own control port alone. Raises: LocalError `key_missing`."""
    if args.api_url and not os.environ.get("INTERLOCK_KEY"):
        raise LocalError("no key: set INTERLOCK_KEY to one that holds sessions:run", code="key_missing")
    return _key(args)


def lines(args: Any, path: str, body: Any = None) -> list[Any]:
    """The JSON lines of one GET (with a body: POST), which may take its time. Raises: as `call`."""
    answer = _exchange(url(), _key(args), "GET" if body is None else "POST", path, body, LONG_S)
    return [_decoded(line) for line in answer.splitlines()]


def text(args: Any, method: str, path: str) -> str:
    """The answer of one call as it came, for what must be kept byte by byte. Raises: as `call`."""
    return _exchange(url(), _key(args), method, path, None).decode(errors="replace")


def segment(text: str) -> str:
    """`text` as one segment of a path. Raises: LocalError: it is empty."""
    if not text:
        raise LocalError("the name or id that was given is empty")
    return quote(text, safe="")


def _key(args: Any) -> str:
    key = os.environ.get("INTERLOCK_KEY", "")
    if not key:
        path = data_dir(args) / "admin.key"
        try:
            key = path.read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise LocalError(
                f"no key: set INTERLOCK_KEY, or name the server's directory with --data DIR: {path} cannot be read"
                " (a server writes it when it first starts)",
                code="key_missing",
            ) from error
    return _printable(key)


def _printable(key: str) -> str:
    if not key.isascii() or not key.isprintable():
        raise LocalError("the key holds characters that no key has", code="key_unknown")
    return key


def _exchange(
    base: str, key: str, method: str, target: str, body: Any, timeout_s: float = TIMEOUT_S, *, control: bool = True
) -> bytes:
    """The body of a good answer. Who meant the control port and asks the api port is told so."""
    connection = _connected(base)
    try:
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        assert connection.sock is not None
        connection.sock.settimeout(timeout_s)
        data = None if body is None else msgspec.json.encode(body)
        connection.request(method, urlsplit(base).path + target, data, headers)
        response = connection.getresponse()
        answer = response.read(ANSWER_BYTES_MAX + 1)
        tenant = response.headers.get("x-interlock-tenant")
    except (OSError, http.client.HTTPException) as error:
        raise TransientError(f"{base} broke off: {error or type(error).__name__}", code="upstream_closed") from error
    finally:
        connection.close()
    if len(answer) > ANSWER_BYTES_MAX:
        raise InterlockError(f"{base} answers with more than {ANSWER_BYTES_MAX} bytes", code="upstream_invalid")
    if response.status >= 400 and not _has_items(answer):
        raise refusal(base, response.status, answer)
    if tenant and control:
        complain(f"{base} is an api port, not the control port: this is of tenant {tenant} alone")
    return answer


def _connected(base: str) -> http.client.HTTPConnection:
    parts = urlsplit(base)
    make = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = make(str(parts.hostname), parts.port, timeout=CONNECT_S)
    try:
        connection.connect()
    except OSError as error:
        connection.close()
        why = (
            "no server" if isinstance(error, ConnectionRefusedError) else f"cannot connect ({error.strerror or error})"
        )
        raise NoServer(f"{why} at {base}: start one with `interlock serve`, or set INTERLOCK_URL") from error
    return connection


def _has_items(answer: bytes) -> bool:
    try:
        return bool(msgspec.json.decode(answer, type=_Items).items)
    except msgspec.DecodeError:
        return False


def refusal(base: str, status: int, answer: bytes) -> InterlockError:
    """What an answer says is wrong."""
    try:
        error = msgspec.json.decode(answer, type=_Refusal).error
    except msgspec.DecodeError:
        return InterlockError(f"{base} answers {status}, and not as Interlock does", code="upstream_invalid")
    return InterlockError(error.message, code=error.code if error.code in CODES else "internal", field=error.field)


def _number(text: str) -> float | msgspec.Raw:
    value = float(text)
    return value if math.isfinite(value) else msgspec.Raw(text.encode())


_DECODER = msgspec.json.Decoder(float_hook=_number)
"""A number that no double holds, as events may hold, stays as it was written."""


def _decoded(data: bytes) -> Any:
    try:
        return _DECODER.decode(data)
    except msgspec.DecodeError as error:
        raise InterlockError(
            "the answer is not JSON: is INTERLOCK_URL the control port?", code="upstream_invalid"
        ) from error
