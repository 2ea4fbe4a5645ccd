"""Agents on a server whose data port speaks TLS, and what their process knows of the server's environment."""

from pathlib import Path

from tests.e2e import certificates
from tests.e2e.agents import ALLOW, SCRIPTS, House, ended
from tests.e2e.player import Player
from tests.e2e.server import Server, until


def test_agents_ask_the_gateway_in_the_clear_on_loopback(tmp_path: Path) -> None:
    made = certificates.make(tmp_path, "localhost")
    player = Player(tmp_path / "player", SCRIPTS).start()
    config = tmp_path / "interlock.toml"
    config.write_text(
        'default_tier = "main"\n[deployments.recorded]\nprovider = "recorded"\nmodel = "m"\n'
        f'base_url = "http://127.0.0.1:{player.port}/v1"\nformats = ["messages"]\ncapabilities = ["tools"]\n'
        'credential = { env = "RECORDED_KEY" }\nprice = "free"\n[tiers]\nmain = ["recorded"]\n'
        f'[server]\ntls = {{ certificate = "{made.certificate}", key = "{made.key}" }}\n'
    )
    server = Server(tmp_path / "data", config=config, env={"RECORDED_KEY": "hush-9d1f"}).start(ready=False)
    try:
        until(server.places.runtime_socket.is_socket, "agents can run")
        until(lambda: server.answers(server.control_port, "/healthz"), "operators are answered")
        until(server.places.admin_key.exists, "there is an admin")
        session = House(server).acme.run("[write]", agent=ALLOW)
        assert ended(session)[-1]["reason"] == "done" and session.read("here.txt") == b"written\n"
        environ = Path(f"/proc/{server.pids()['runtime']}/environ").read_bytes()
        assert b"hush-9d1f" not in environ and b"PATH=" in environ
        assert b"hush-9d1f" in Path(f"/proc/{server.pids()['worker-0']}/environ").read_bytes(), "who asks the provider"
    finally:
        server.kill()
        player.stop()
