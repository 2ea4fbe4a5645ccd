"""The same in Restate, its server from npm and a service in Python: `… DIRECTORY STEPS SESSIONS EACH SERVER`."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import hypercorn.asyncio
import hypercorn.config
import restate

directory, server = Path(sys.argv[1]), sys.argv[5]
steps, sessions, each = map(int, sys.argv[2:5])
service = restate.Service("bench")


@service.handler("work")  # type: ignore[untyped-decorator,unused-ignore]  # its venv has its types
async def work(context: restate.Context, count: int) -> int:
    total = 0
    for n in range(count):
        total += await context.run_typed("nothing", lambda n=n: n)
    return total


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def post(url: str, body: object) -> bytes:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=120) as answer:
        return bytes(answer.read())


def start(env: dict[str, str]) -> "subprocess.Popen[bytes]":
    with (directory / "server.log").open("wb") as log:
        command = [server, "--base-dir", str(directory / "data"), "--node-name", "bench"]
        return subprocess.Popen(command, env=env, stdout=log, stderr=log)


async def main() -> None:
    loop = asyncio.get_running_loop()
    ports = {name: free_port() for name in ("service", "ingress", "admin", "node")}
    config = hypercorn.config.Config()
    config.bind, config.loglevel = [f"127.0.0.1:{ports['service']}"], "ERROR"
    ended = asyncio.Event()
    serving = asyncio.ensure_future(
        hypercorn.asyncio.serve(restate.app([service]), config, shutdown_trigger=ended.wait)
    )
    env = os.environ | {
        "RESTATE_INGRESS__BIND_ADDRESS": f"127.0.0.1:{ports['ingress']}",
        "RESTATE_ADMIN__BIND_ADDRESS": f"127.0.0.1:{ports['admin']}",
        "RESTATE_BIND_ADDRESS": f"127.0.0.1:{ports['node']}",
        "RESTATE_ADVERTISED_ADDRESS": f"http://127.0.0.1:{ports['node']}",
        "RESTATE_LOG_FILTER": "error",
        "RESTATE_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "1",
    }
    process = start(env)
    try:
        uri = {"uri": f"http://127.0.0.1:{ports['service']}", "use_http_11": False}
        for attempt in range(300):
            try:
                await asyncio.to_thread(post, f"http://127.0.0.1:{ports['admin']}/deployments", uri)
                break
            except OSError:
                if attempt == 299:
                    raise
                await asyncio.sleep(0.1)
        url = f"http://127.0.0.1:{ports['ingress']}/bench/work"
        await asyncio.to_thread(post, url, 5)
        begun = time.perf_counter()
        await asyncio.to_thread(post, url, steps)
        sequential = steps / (time.perf_counter() - begun)
        begun = time.perf_counter()
        # Not in the loop's own pool, in which the SDK runs the steps.
        with ThreadPoolExecutor(sessions) as pool:
            await asyncio.wait([loop.run_in_executor(pool, post, url, each) for _ in range(sessions)])
        concurrent = sessions * each / (time.perf_counter() - begun)
        print(json.dumps({"sequential": sequential, "concurrent": concurrent}))
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)
        ended.set()
        await serving


asyncio.run(main())
