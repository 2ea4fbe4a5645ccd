"""llama.cpp's own server in this process, with limits: `python -m interlock.local`.

It speaks Chat Completions, Responses and Messages itself, so the gateway passes bytes through as to any other upstream.
What it does not do well is in docs/local-models.md. It needs the optional package xllamacpp.
"""

import argparse
import ipaddress
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from interlock.datadir import default_data_dir
from interlock.errors import InterlockError, LocalError
from interlock.local.models import SMOLLM2, find

CONTEXT = 8192
"""Tokens a request may have, prompt and answer: what SmolLM2 was trained on."""
PARALLEL = 2
PORT = 8090

PREDICT_MAX = 1024
"""Tokens of an answer whose request names no limit. llama.cpp does not notice that the client of an answer that is not
streamed has gone, so this bounds what is generated for nobody: some 15 s of two cores."""

_CACHE_MIB = 256
"""Prompts remembered beside the slots. llama.cpp's default is 8 GiB."""
_SOCKET_TIMEOUT_S = 120
"""For one read of a request or write of an answer. llama.cpp's default is an hour."""
_HTTP_THREADS = 272
"""One a connection, idle ones too. The gateway opens at most 256 (policy.Limits.upstream_connections) and `/health`
needs one more; with fewer, a full queue made it answer after 11 s."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How to serve one model."""

    model: Path
    alias: str
    """The name it answers to in `/v1/models` and in answers; requests may say anything."""
    host: str = "127.0.0.1"
    port: int = PORT
    """0: any that is free."""
    context: int = CONTEXT
    parallel: int = PARALLEL
    """Requests worked on at once, each with the whole context; more wait."""
    threads: int | None = None
    """None: all cores but one, see `spare_cores`."""
    api_key: str = ""
    """Empty: anybody who can connect may ask, which only a loopback address allows."""


def serve(options: Options) -> None:
    """Load the model and serve it until SIGTERM or SIGINT ends this process. `/health` answers 503 until it is loaded.

    Raises: LocalError: xllamacpp is missing, the address is not allowed or taken, the file is not a model it can load.
    """
    _check(options)
    xllamacpp = _library()
    try:
        server = xllamacpp.Server(_parameters(xllamacpp, options))
    except RuntimeError as error:
        where = f"{options.host}:{options.port}"
        why = f"the file is not a whole GGUF that it knows, or {where} is taken"
        raise LocalError(f"llama.cpp could not serve {str(options.model)!r}: {why}", code="not_ready") from error
    _die_on_signals()  # it has put its own handlers, which end the serving but not the process
    print(f"serving {options.alias} at {server.listening_address}/v1", file=sys.stderr, flush=True)
    while True:
        signal.pause()


def spare_cores() -> int:
    """The cores this process may use, less one for the gateway; at least one.

    llama.cpp's threads wait for each other some hundred times a token, spinning. With as many threads as cores and
    other work on them, one held a core to wait for one that had none: 2 threads made 5 tokens/s where 1 made 26.
    """
    return max(1, len(os.sched_getaffinity(0)) - 1)


def _check(options: Options) -> None:
    try:
        loopback = options.host == "localhost" or ipaddress.ip_address(options.host).is_loopback
    except ValueError as error:
        raise LocalError(f"{options.host!r} is not an IP address", field="host") from error
    if not loopback and not options.api_key:
        raise LocalError(f"{options.host!r} can be reached by others, so an API key is needed", field="host")
    if not options.model.is_file():
        raise LocalError(f"there is no model at {str(options.model)!r}", code="not_ready", field="model")


def _library() -> Any:
    try:
        import xllamacpp
    except ImportError as error:
        message = "the local model needs the package xllamacpp; run: pip install 'interlock[local]'"
        raise LocalError(message, code="not_ready") from error
    return xllamacpp


def _parameters(xllamacpp: Any, options: Options) -> Any:
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(options.model)
    parameters.model_alias = {options.alias}
    parameters.hostnames = [options.host]
    parameters.port = options.port
    parameters.reuse_port = True  # the supervisor holds the port, see LocalModel
    parameters.api_keys = [options.api_key] if options.api_key else []
    parameters.n_parallel = options.parallel
    parameters.n_ctx = options.context * options.parallel  # it divides them among the slots
    parameters.n_predict = min(PREDICT_MAX, options.context)
    threads = options.threads or spare_cores()
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = threads
    parameters.n_threads_http = _HTTP_THREADS
    parameters.timeout_read = parameters.timeout_write = _SOCKET_TIMEOUT_S
    parameters.cache_ram_mib = _CACHE_MIB
    parameters.cors_origins = ""  # no web page has business here
    parameters.ui = parameters.endpoint_slots = False
    parameters.verbosity = 0
    return parameters


def _die_on_signals() -> None:
    """Nothing here outlives a call, so the kernel's own way to end is the right one, and it cannot hang."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def main(argv: Sequence[str] | None = None) -> int:
    """`python -m interlock.local`, and `interlock local serve`. Returns: the exit status, if it could not serve."""
    _die_on_signals()
    try:
        serve(_options(argv))
    except InterlockError as error:
        print(f"interlock: {error.message} [{error.code}]", file=sys.stderr)
        return 1
    return 0


def _options(argv: Sequence[str] | None) -> Options:
    parser = argparse.ArgumentParser(prog="interlock local serve", description="serve a local model in the foreground")
    parser.add_argument(
        "--data", metavar="DIR", type=Path, default=default_data_dir(), help="data directory with fetched models"
    )
    parser.add_argument("--model", default=SMOLLM2.name, help="name of a fetched model, or path of a .gguf file")
    parser.add_argument("--alias", help="name to answer to (default: the model's)")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=_between(0, 65535), default=PORT, help="0: any free one (default: %(default)s)")
    parser.add_argument("--ctx", type=_between(256, 1 << 20), default=CONTEXT, help="tokens a request may have, in all")
    parser.add_argument("--threads", type=_between(1, 1024), help="default: the cores this process may use, less one")
    parser.add_argument("--parallel", type=_between(1, 64), default=PARALLEL, help="requests worked on at once")
    parser.add_argument("--api-key-env", metavar="NAME", help="environment variable that holds the key to ask for")
    args = parser.parse_args(argv)
    key = os.environ.get(args.api_key_env, "") if args.api_key_env else ""
    if args.api_key_env and not key:
        raise LocalError(f"the environment variable {args.api_key_env} is not set", field="api_key_env")
    path = find(args.data, args.model)
    return Options(
        model=path,
        alias=args.alias or (path.stem if args.model.endswith(".gguf") else args.model),
        host=args.host,
        port=args.port,
        context=args.ctx,
        parallel=args.parallel,
        threads=args.threads,
        api_key=key,
    )


def _between(low: int, high: int) -> Callable[[str], int]:
    """An argparse type: a whole number, both ends included."""

    def number(text: str) -> int:
        if not low <= (value := int(text)) <= high:
            raise argparse.ArgumentTypeError(f"{text} is not between {low} and {high}")
        return value

    return number
