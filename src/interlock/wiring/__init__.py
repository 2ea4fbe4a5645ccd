"""Where adapters are chosen and processes are made: the only package that knows every other."""

from typing import Any


def serve(args: Any) -> int:
    """`interlock serve`: run a server in the foreground until stopped.

    Args:
        args: the parsed options `config`, `data`, `host`, `port`, `api_port`, `control_port`, `workers`.
    Returns: the process's exit status.
    Raises: InterlockError: it could not start; nothing runs.
    """
    from pathlib import Path

    from interlock.config import load
    from interlock.datadir import DataDir, default_data_dir
    from interlock.local import SOURCES, fetch
    from interlock.wiring.supervisor import Listen, check_ports, run

    places = DataDir(Path(args.data).absolute() if args.data else default_data_dir())
    path = Path(args.config).absolute() if args.config else places.config if places.config.exists() else None
    listen = Listen(host=args.host, port=args.port, api_port=args.api_port, control_port=args.control_port)
    config = load(path, data=places.root).config
    source = SOURCES.get(config.server.local.model) if config.server.local.enabled else None
    if source is not None and not source.path(places.root).exists():
        check_ports(listen)  # before what may take minutes
        fetch(places.root, source=source)
    return run(places.root, config, path, listen, args.workers or 1)
