"""What a sandbox is for: a mixin of `hands_contract.HandsContract` for adapters that contain what runs in them."""

import asyncio

import pytest

from interlock.errors import HandsLost
from interlock.runtime.hands import Command, Delta, Hands, Sandbox, Strength
from interlock.testing.hands_contract import BEATS, HandsContract, beats, execute, on_hands, sh, stands_still, until

BOMB = """
import ctypes, os, sys, time
if sys.argv[1:]:
    ctypes.CDLL(None).unshare(0x10000000)
made = 0
for _ in range(200):
    try:
        if os.fork() == 0:
            time.sleep(30)
            os._exit(0)
        made += 1
    except OSError:
        pass
print(made)
"""
"""Asks for a process two hundred times, whatever it is told, and says how many it got; perhaps as root of its own."""


class ContainedContract(HandsContract):
    """The suite."""

    strength: Strength = "namespace"

    def kill_from_outside(self, box: Sandbox) -> None:
        """Kill a sandbox in which something runs, as the kernel or an operator would."""
        raise NotImplementedError  # each adapter's test knows its processes

    @on_hands
    async def test_processes_are_bounded_for_all_together(self, hands: Hands) -> None:
        box = await self.box(hands, processes=32)
        bomb = "bomb() { bomb | bomb & }; bomb; sleep 1; echo survived"
        ran = await sh(box, bomb, time_s=10.0)
        assert ran.stop.status in {"completed", "timed_out"}
        assert (await sh(box, "for i in $(seq 60); do sleep 5 & done; ls -d /proc/[0-9]* | wc -l")).code != 0
        assert (await sh(box, "echo on")).text == "on\n", "a fork bomb in one command is over with it"

    @on_hands
    async def test_processes_are_bounded_however_often_they_are_asked_for(self, hands: Hands) -> None:
        box = await self.box(hands, processes=32)
        await box.write("bomb.py", BOMB.encode())
        for how in ("", " unshare"):
            ran = await sh(box, f"python3 bomb.py{how}", time_s=20.0)
            assert ran.code == 0 and 16 <= int(ran.text) <= 32, (ran.text, ran.stderr)

    @on_hands
    async def test_processes_of_commands_at_once_share_one_limit(self, hands: Hands) -> None:
        box = await self.box(hands, processes=32)
        # What waits must not fork: the other command leaves it no room to.
        line = "for i in $(seq 24); do sleep 30 & done; : > $0; while [ ! -e both ]; do :; done"
        async with asyncio.TaskGroup() as group:
            one = group.create_task(execute(box, Command(argv=("sh", "-c", line, "one"), time_s=20.0)))

            async def begun() -> bool:
                return (await sh(box, "ls one")).code == 0

            await until(begun, "24 processes")
            other = group.create_task(sh(box, "for i in $(seq 24); do sleep 30 & done; echo had-room", time_s=20.0))
            ran = await other
            await box.write("both", b"")
        assert one.result().code == 0, one.result().stop
        assert "had-room" not in ran.text, f"24 and 24 are more than 32: {ran.stop}"

    @on_hands
    async def test_memory_is_bounded_and_the_reason_said(self, hands: Hands) -> None:
        box = await self.box(hands, memory_bytes=64 << 20)
        ran = await sh(box, "head -c 300000000 /dev/zero | tail", time_s=20.0)
        assert ran.code not in {0, None} or "memory" in ran.stop.reason, ran.stop
        assert "out of memory" in ran.stop.reason
        assert (await sh(box, "echo on")).text == "on\n"

    @on_hands
    async def test_the_disk_is_bounded_and_the_reason_said(self, hands: Hands) -> None:
        box = await self.box(hands, disk_bytes=32 << 20)
        line = "i=0; while :; do i=$((i+1)); head -c 4000000 /dev/zero > f$i || exit 1; sleep 0.05; done"
        ran = await sh(box, line, time_s=20.0)
        assert ran.stop.status == "completed" and ran.code != 0 and "disk" in ran.stop.reason, ran.stop
        await sh(box, "rm -f f*; head -c 100000000 /dev/zero > huge")
        one = await sh(box, "stat -c %s huge")
        assert int(one.text) <= 32 << 20, "one file is held to the limit at once"
        room = await sh(box, "rm -f huge; echo room > file; cat file")
        assert room.text == "room\n", room.stop
        with pytest.raises(Exception, match="cannot be written"):
            await box.write("big", bytes(33 << 20))

    @on_hands
    async def test_temporary_files_count_and_are_shared_between_commands(self, hands: Hands) -> None:
        box = await self.box(hands, disk_bytes=32 << 20)
        assert (await sh(box, "cd /tmp; echo one > shared")).code == 0
        assert (await sh(box, "cd /tmp; cat shared")).text == "one\n"
        line = "cd /tmp; i=0; while :; do i=$((i+1)); head -c 4000000 /dev/zero > f$i || exit 1; sleep 0.05; done"
        ran = await sh(box, line, time_s=20.0)
        assert ran.stop.status == "completed" and "disk" in ran.stop.reason, ran.stop

    @on_hands
    async def test_cpu_time_is_bounded(self, hands: Hands) -> None:
        box = await self.box(hands, cpus=0.05)
        ran = await sh(box, "while :; do :; done", time_s=3.0)
        assert ran.stop.status == "timed_out"
        assert 0.02 < ran.stop.cpu_s < 0.4, "0.15 s, and what starts it"

    @on_hands
    async def test_a_gigabyte_of_output_is_read_and_thrown_away(self, hands: Hands) -> None:
        box = await self.box(hands, output_bytes=1 << 16)
        kept = 0
        async for output in box.execute(Command(argv=("head", "-c", str(1 << 30), "/dev/zero"))):
            kept += len(output.data) if isinstance(output, Delta) else 0
            stop = output
        assert kept == 1 << 16 and stop.thrown_away == (1 << 30) - (1 << 16)  # type: ignore[union-attr]  # the last

    @on_hands
    async def test_killed_from_outside_is_lost(self, hands: Hands) -> None:
        box = await self.box(hands)
        async with asyncio.TaskGroup() as group:
            running = group.create_task(sh(box, BEATS))

            async def begun() -> bool:
                return await beats(box) > 0

            await until(begun, "a beat")
            self.kill_from_outside(box)
        stop = running.result().stop
        assert (stop.status, stop.exit_code) == ("lost", None) and stop.reason
        with pytest.raises(HandsLost):
            await sh(box, "true")
        with pytest.raises(HandsLost):
            await box.read("beats")
        again = await self.box(hands)
        assert await beats(again) > 0 and await stands_still(lambda: beats(again)), "the workspace is still there"

    @on_hands
    async def test_the_machines_files_are_not_to_be_seen(self, hands: Hands) -> None:
        box = await self.box(hands)
        ran = await sh(
            box, "for p in /etc/shadow /root /home /var/lib /sys/kernel /boot; do test -e $p && echo $p; done; true"
        )
        assert ran.text == ""
        assert (await sh(box, "echo x > /usr/x; echo x > /etc/x; echo x > /x; ls /usr/x /etc/x /x")).code != 0

    @on_hands
    async def test_other_workspaces_and_processes_are_not_to_be_seen(self, hands: Hands) -> None:
        one, other = await self.box(hands, "one"), await self.box(hands, "other")
        await one.write("secret-of-one", b"x")
        async with asyncio.TaskGroup() as group:
            running = group.create_task(sh(one, "exec sleep 3"))
            look = "cat /proc/[0-9]*/cmdline | tr '\\0' ' '; ls -a / /workspace /tmp; find / -name 'secret-of-*'"
            found = await sh(other, look)
            running.cancel()
        assert "sleep 3" not in found.text and "secret-of-one" not in found.text, found.text

    @on_hands
    async def test_there_is_no_way_out_to_a_network(self, hands: Hands) -> None:
        box = await self.box(hands)
        ran = await sh(box, "cat /proc/net/dev /proc/net/route 2>/dev/null")
        names = [line.split(":")[0].strip() for line in ran.text.splitlines() if ":" in line]
        assert set(names) <= {"lo"}, ran.text
