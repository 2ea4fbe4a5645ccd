"""What every adapter does with files, and what of them lasts: a mixin of `hands_contract.HandsContract`."""

import asyncio

import pytest

from interlock.errors import HandsLost, InterlockError, LocalError
from interlock.runtime.hands import Hands, Resources
from interlock.testing.hands_contract import BEATS, HandsContract, beats, on_hands, sh, some, stands_still, until


class FilesContract(HandsContract):
    """The suite."""

    temporary = "${TMPDIR:-/tmp}"
    """Where a command keeps temporary files, for a shell."""

    @on_hands
    async def test_a_sandbox_beside_another_leaves_its_temporary_files_alone(self, hands: Hands) -> None:
        one = await hands.provision("ses_1", "wsp_beside", Resources())
        await sh(one, f"echo kept > {self.temporary}/f")
        two = await hands.provision("ses_1", "wsp_beside", Resources())  # as for a file, or a terminal
        try:
            assert (await sh(one, f"cat {self.temporary}/f")).text == "kept\n"
        finally:
            await one.destroy()
            await two.destroy()
        three = await hands.provision("ses_1", "wsp_beside", Resources())
        try:
            assert (await sh(three, f"ls {self.temporary}")).text == "", "nobody was there any more"
        finally:
            await three.destroy()

    @on_hands
    async def test_a_workspace_is_told_from_another_by_when_it_was_made(self, hands: Hands) -> None:
        one = await self.box(hands)
        await sh(one, "echo kept > file")
        await one.destroy()
        again, other = await self.box(hands), await self.box(hands, "other")
        assert one.workspace_made_at_ns == again.workspace_made_at_ns != other.workspace_made_at_ns
        assert await again.read("file") == b"kept\n"

    @on_hands
    async def test_files_go_in_and_out(self, hands: Hands) -> None:
        box = await self.box(hands)
        await box.write("a/b/c.bin", bytes(range(256)))
        assert await box.read("a/b/c.bin") == bytes(range(256))
        assert await box.read("a/b/c.bin", offset=250, limit=3) == b"\xfa\xfb\xfc"
        assert await box.read("a/b/c.bin", offset=1000) == b""
        await sh(box, "printf '#!/bin/sh\\necho ran' > script; chmod 750 script; ln -s script link; ln -s a/b dir")
        await box.write("script", b"#!/bin/sh\necho anew\n")
        assert (await sh(box, "./script; stat -c %a script; rm a/b/c.bin && echo removed")).text == (
            "anew\n750\nremoved\n"
        )
        assert await box.read("link") == b"#!/bin/sh\necho anew\n"
        await box.write("dir/through", b"1")
        await box.write("link", b"#!/bin/sh\necho by link\n")
        assert (await sh(box, "cat a/b/through; ./script; test -L link && echo link")).text == "1by link\nlink\n"

    @on_hands
    async def test_paths_that_lead_out_are_refused(self, hands: Hands) -> None:
        box = await self.box(hands)
        await sh(box, "mkdir d; ln -s /etc etc; ln -s ../../.. up; ln -s /etc/passwd pass; ln -s /proc/self/root root")
        paths = ("../x", "/etc/passwd", "d/../../x", "etc/passwd", "up/x", "pass", "root/etc/passwd", "d/../..", "a\0b")
        for path in paths:
            with pytest.raises(LocalError) as refused:
                await box.read(path)
            assert refused.value.field == "path", path
            with pytest.raises(LocalError) as refused:
                await box.write(path, b"no")
            assert refused.value.field == "path", path

    @on_hands
    async def test_only_regular_files_are_read_and_written(self, hands: Hands) -> None:
        box = await self.box(hands)
        await sh(box, "mkfifo fifo; mkdir dir; ln -s loop loop; ln -s missing dangling; ln -s fifo to-fifo")
        for path in ("fifo", "dir", "loop", "to-fifo", "missing", ".", ""):
            with pytest.raises(LocalError):
                await box.read(path)
        for path in ("fifo", "dir", "loop", "to-fifo", "dir/", ".", "", "fifo/x"):
            with pytest.raises(LocalError):
                await box.write(path, b"x")

    @on_hands
    async def test_a_link_that_is_swapped_leads_nowhere_else(self, hands: Hands) -> None:
        box = await self.box(hands)
        await box.write("inside/passwd", b"mine")
        turn = "mv -T inside keep; mv -T evil inside; mv -T inside evil; mv -T keep inside"
        swapping = asyncio.get_running_loop().create_task(sh(box, f"ln -s /etc evil; while :; do {turn}; done"))
        got = set[bytes]()
        for _ in range(300):
            try:
                got.add(await box.read("inside/passwd"))
                await box.write("inside/hostname", b"mine")
            except LocalError:
                await asyncio.sleep(0)
        swapping.cancel()
        with pytest.raises(asyncio.CancelledError):
            await swapping
        assert got == {b"mine"}

    # What lasts.

    @on_hands
    async def test_a_workspace_survives_its_sandbox(self, hands: Hands) -> None:
        box = await self.box(hands)
        await sh(box, f"echo kept > file; echo gone > {self.temporary}/file")
        await box.destroy()
        again = await self.box(hands)
        assert again.id != box.id
        assert (await sh(again, f"cat file; cat {self.temporary}/file 2>/dev/null")).text == "kept\n"
        other = await self.box(hands, "another")
        assert (await sh(other, "ls")).text == ""

    @on_hands
    async def test_a_snapshot_can_be_gone_back_to(self, hands: Hands) -> None:
        box = await self.box(hands)
        await sh(box, "echo 1 > a; mkdir d; echo 1 > d/b; ln -s d/b link; ln a hard; chmod 700 a; truncate -s 1G hole")
        snapshot = await box.snapshot()
        await sh(box, "echo 2 > a; rm -r d; echo new > new; rm link")
        await box.restore(snapshot)
        ran = await sh(box, "cat a hard d/b link; ls; stat -c '%a %h' a; echo 3 >> a; cat hard; stat -c %s hole")
        assert ran.text == "1\n1\n1\n1\na\nd\nhard\nhole\nlink\n700 2\n1\n3\n1073741824\n"
        await box.restore(snapshot)
        assert (await sh(box, "cat a")).text == "1\n"
        for unknown in ("snap_" + "0" * 32, "../files", ""):
            with pytest.raises(LocalError):
                await box.restore(unknown)

    @on_hands
    async def test_a_snapshot_while_files_change_is_whole(self, hands: Hands) -> None:
        box = await self.box(hands)
        turn = "for i in 1 2 3 4 5; do echo $i > d/$i; mv d/$i e$i; rm e$i; done; rm -rf d; mkdir d"
        churn = f"mkdir -p d; while :; do {turn}; done"
        churning = asyncio.get_running_loop().create_task(sh(box, churn))
        for _ in range(5):
            await box.snapshot()
        churning.cancel()
        with pytest.raises(asyncio.CancelledError):
            await churning

    @on_hands
    async def test_going_back_ends_what_runs(self, hands: Hands) -> None:
        box = await self.box(hands)
        snapshot = await box.snapshot()
        async with asyncio.TaskGroup() as group:
            running = group.create_task(sh(box, BEATS))
            await until(lambda: some(box), "a beat")
            await box.restore(snapshot)
        assert running.result().stop.status == "lost"
        assert await beats(box) == 0
        assert (await sh(box, "echo on")).text == "on\n"

    @on_hands
    async def test_destroyed_it_is_gone_and_twice_is_once(self, hands: Hands) -> None:
        box = await self.box(hands)
        async with asyncio.TaskGroup() as group:
            running = group.create_task(sh(box, BEATS))
            await until(lambda: some(box), "a beat")
            await box.destroy()
        assert running.result().stop.status == "lost"
        await box.destroy()
        again = await self.box(hands)
        assert await stands_still(lambda: beats(again))
        for call in (sh(box, "true"), box.read("x"), box.write("x", b""), box.snapshot(), box.shell()):
            with pytest.raises(HandsLost):
                await call
        with pytest.raises(InterlockError):
            await box.restore("snap_" + "0" * 32)
