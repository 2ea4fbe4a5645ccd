"""The authority in Valkey or Redis: one script an exchange, so that telling and granting are one step for everybody.

Keys, all in one hash slot: `{interlock:limits}:epoch` (which run of the server this memory is of, and since when),
`:recalls`, `:heard` (when each machine last spoke), `:of:MACHINE` (which counters it is in), `:c:NAME:END` (a counter:
what each worker was granted, what each machine spent, and the two sums). Amounts stay decimal strings and are added by
HINCRBY: a Lua number is exact only up to 2^53. A server that was restarted, or a replica in its place, has another run
id, which a worker sees because its connection broke; one that was emptied has no epoch: either way the memory gets a
new id, every worker tells everything again, and nothing is granted until all had the time to.
"""

import asyncio
import contextlib
import random
from collections.abc import Sequence
from typing import Any

import valkey.asyncio
from valkey.asyncio.retry import Retry
from valkey.backoff import NoBackoff
from valkey.exceptions import ValkeyError

from interlock.errors import LocalError, TransientError
from interlock.limits.division import EXTRA_PART, Lessee, Times
from interlock.limits.limit import NEVER_NS
from interlock.limits.ports import Answer, Ask, Authority, Told

PREFIX = "{interlock:limits}"
AFTER_MS = 3_600_000
"""A counter is kept so long after its window: what is settled late still finds it."""
WINDOWLESS_MS = 86_400_000
"""A counter of calls at once goes when nobody has spoken of it for so long."""
MACHINE_MS = 40 * 86_400_000
"""Longer than any window."""
_MS = 1_000_000

_SHARED = """
local function minus(n)
  if n == '0' then return n end
  if n:sub(1, 1) == '-' then return n:sub(2) end
  return '-' .. n
end
local function set(key, sum, field, value)
  local old = redis.call('HGET', key, field) or '0'
  if old == value then return end
  redis.call('HINCRBY', key, sum, minus(old))
  redis.call('HINCRBY', key, sum, value)
  if value == '0' then redis.call('HDEL', key, field) else redis.call('HSET', key, field, value) end
end
local function clock_ms()
  local now = redis.call('TIME')
  return now[1] * 1000 + math.floor(now[2] / 1000)
end
"""

JOIN = (
    _SHARED
    + """
if redis.call('HGET', KEYS[1], 'server') ~= ARGV[1] then
  redis.call('HSET', KEYS[1], 'server', ARGV[1], 'id', ARGV[2], 'since', clock_ms())
end
local heard = redis.call('HGETALL', KEYS[2])
for n = 1, #heard, 2 do
  if clock_ms() - tonumber(heard[n + 1]) > tonumber(ARGV[3]) then redis.call('HDEL', KEYS[2], heard[n]) end
end
return redis.call('HGET', KEYS[1], 'id')
"""
)
"""KEYS: epoch, heard. ARGV: the server's run id; an id for its memory, if that is new; for how many ms a machine that
says nothing is remembered. Returns: the id of its memory."""

EXCHANGE = (
    _SHARED
    + """
local machine, slot = ARGV[2], ARGV[3]
local gather, silent, recall, kept, part = unpack(ARGV, 4, 8)
gather, silent, recall, part = tonumber(gather), tonumber(silent), tonumber(recall), tonumber(part)
if redis.call('HGET', KEYS[1], 'id') ~= ARGV[1] then return {'unknown'} end
local now = clock_ms()
local gathering = now < tonumber(redis.call('HGET', KEYS[1], 'since')) + gather
redis.call('HSET', KEYS[3], machine, now)

local function add(key, a, b)
  redis.call('HSET', key, '~', a)
  redis.call('HINCRBY', key, '~', b)
  local sum = redis.call('HGET', key, '~')
  redis.call('HDEL', key, '~')
  return sum
end
local function at_least(a, b)
  local below, beside = a:sub(1, 1) == '-', b:sub(1, 1) == '-'
  if below ~= beside then return beside end
  if below then a, b = b:sub(2), a:sub(2) end
  if #a ~= #b then return #a > #b end
  return a >= b
end
local function free(key, amount) return add(key, amount, minus(redis.call('HGET', key, 'g') or '0')) end
local function drop_silent(key)
  local fields = redis.call('HKEYS', key)
  for _, field in ipairs(fields) do
    local who = field:match('^g:(.*):%d+$')
    if who and now - tonumber(redis.call('HGET', KEYS[3], who) or '0') > silent then set(key, 'g', field, '0') end
  end
end

local met, wanting, left = true, false, {}
for n = 5, #KEYS do
  local key, at = KEYS[n], 8 + (n - 5) * 7
  local mine, spent, need, amount, expires = ARGV[at + 2], ARGV[at + 3], ARGV[at + 4], ARGV[at + 6], ARGV[at + 7]
  set(key, 'g', 'g:' .. machine .. ':' .. slot, mine)
  set(key, 's', 's:' .. machine, spent)
  redis.call('HSETNX', key, 'g', '0')
  redis.call('PEXPIREAT', key, tonumber(expires) > 0 and expires or string.format('%.0f', now - tonumber(expires)))
  redis.call('SADD', KEYS[4], key)
  left[n] = '0'
  if need ~= '0' then
    wanting = true
    left[n] = free(key, amount)
    if tonumber(expires) <= 0 and not at_least(left[n], need) then
      drop_silent(key)
      left[n] = free(key, amount)
    end
    if not at_least(left[n], need) then
      met = false
      if not gathering then redis.call('ZADD', KEYS[2], now, ARGV[at + 1]) end
    end
  end
end
if #KEYS > 4 then redis.call('PEXPIRE', KEYS[4], kept) end
met = met and wanting and not gathering

local told = {}
for n = 5, #KEYS do
  local key, at = KEYS[n], 8 + (n - 5) * 7
  local need, extra, grant = ARGV[at + 4], ARGV[at + 5], '0'
  if met and need ~= '0' then
    local spare = math.floor(tonumber(add(key, left[n], minus(need))) / part)
    if tonumber(extra) > spare then extra = string.format('%.0f', spare) end
    grant = add(key, need, extra)
    redis.call('HINCRBY', key, 'g', grant)
    redis.call('HINCRBY', key, 'g:' .. machine .. ':' .. slot, grant)
  end
  local own = redis.call('HGET', key, 's:' .. machine) or '0'
  told[#told + 1] = {grant, add(key, redis.call('HGET', key, 's') or '0', minus(own)), left[n]}
end
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now - recall)
return {'ok', met and 1 or 0, gathering and 1 or 0, redis.call('ZRANGE', KEYS[2], 0, -1), told}
"""
)
"""KEYS: epoch, recalls, heard, the machine's set, counters. ARGV: the memory's id, MACHINE/RUN, slot; in ms how
long to gather, a silent machine keeps calls at once, a recall lasts, a machine is remembered; the part that extra
may be; for each counter its name, mine, spent, need, extra, amount, its end (Unix ms; negative: so long from now)."""

RETIRE = (
    _SHARED
    + """
local own = ARGV[1]
local machine = own:match('^(.*)/')
for _, key in ipairs(redis.call('SMEMBERS', KEYS[2])) do
  if redis.call('EXISTS', key) == 0 then redis.call('SREM', KEYS[2], key) end
  for _, field in ipairs(redis.call('HKEYS', key)) do
    local who = field:match('^g:(.*):%d+$') or field:match('^s:(.*)$')
    if who and who ~= own and who:match('^(.*)/') == machine then
      set(key, field:sub(1, 1), field, '0')
      redis.call('HDEL', KEYS[1], who)
    end
  end
end
return 1
"""
)
"""KEYS: heard, the machine's set. ARGV: MACHINE/RUN."""


class ValkeyAuthority(Authority):
    """One worker's line: one connection."""

    def __init__(
        self,
        url: str,
        lessee: Lessee,
        *,
        password: str | None = None,
        connect_s: float = 0.5,
        times: Times | None = None,
    ) -> None:
        """
        Args:
            url: `valkey://`, `redis://`, with TLS `valkeys://` or `rediss://`, or `unix://`; it is never shown.
            password: instead of one in the url.
            times: the same for all workers of all machines.
        Raises: LocalError: no such url.
        """
        try:
            valkey.asyncio.connection.parse_url(url)
        except ValueError:  # its text shows the url
            raise LocalError(
                "the limits' authority is a valkey://, valkeys://, redis://, rediss:// or unix:// url"
            ) from None
        assert "/" not in lessee.machine and ":" not in lessee.machine, "the machine's name is a part of keys"
        self._url = url
        self._password = password
        self._connect_s = connect_s
        self._machine = f"{lessee.machine}/{lessee.run}"
        self._slot = lessee.slot
        self._client: Any = None  # valkey.asyncio.Valkey: its types say Awaitable or not of every command
        times = times or Times()
        self._times = [ns // _MS for ns in (times.gather_ns, times.silent_ns, times.recall_ns)]
        self._memory = ""
        self._scripts: dict[str, str] = {}
        self._fixed = [f"{PREFIX}:epoch", f"{PREFIX}:recalls", f"{PREFIX}:heard", f"{PREFIX}:of:{lessee.machine}"]

    async def join(self) -> None:
        await self._drop()
        options: dict[str, Any] = {"password": self._password} if self._password else {}
        self._client = valkey.asyncio.Valkey.from_url(
            self._url,
            single_connection_client=True,
            decode_responses=True,
            socket_connect_timeout=self._connect_s,
            socket_timeout=None,  # answers are timed by `Leases`; its own timing loses cancellations (asyncio.wait_for)
            retry=Retry(NoBackoff(), 0),  # a broken connection must be seen: the server may be another one
            **options,
        )
        async with self._mapped():
            server = (await self._client.info("server")).get("run_id", "")
            if not server:
                raise TransientError("the limits' authority does not say which run it is", code="limits_unavailable")
            for script in (JOIN, EXCHANGE, RETIRE):
                self._scripts[script] = await self._client.script_load(script)
            fresh = f"{random.getrandbits(64):x}"
            self._memory = await self._run(JOIN, self._fixed[:3:2], [server, fresh, MACHINE_MS])

    async def exchange(self, asks: Sequence[Ask]) -> Answer:
        arguments: list[str | int] = [self._memory, self._machine, self._slot, *self._times, MACHINE_MS, EXTRA_PART]
        for ask in asks:
            goes = -WINDOWLESS_MS if ask.ends_ns == NEVER_NS else ask.ends_ns // _MS + AFTER_MS
            arguments += [ask.name, ask.mine, ask.spent, ask.need, ask.extra, ask.amount, goes]
        counters = [f"{PREFIX}:c:{ask.name}:{0 if ask.ends_ns == NEVER_NS else ask.ends_ns // _MS}" for ask in asks]
        async with self._mapped():
            answer = await self._run(EXCHANGE, [*self._fixed, *counters], arguments)
        if answer[0] == "unknown":
            return Answer(unknown=True)
        _, met, gathering, recalled, rows = answer
        told = [Told(*map(int, row)) for row in rows]
        return Answer(told=told, granted=bool(met), recalled=recalled, gathering=bool(gathering))

    async def retire_others(self) -> None:
        async with self._mapped():
            await self._run(RETIRE, self._fixed[2:], [self._machine])

    async def close(self) -> None:
        await self._drop()

    async def _run(self, script: str, keys: Sequence[str], arguments: Sequence[str | int]) -> Any:
        if self._client is None:
            raise TransientError("the limits' authority is not connected", code="limits_unavailable")
        return await self._client.evalsha(self._scripts[script], len(keys), *keys, *arguments)

    @contextlib.asynccontextmanager
    async def _mapped(self) -> Any:
        """One command. One that failed or was given up takes its connection with it: its answer may still come."""
        done = False
        try:
            yield
            done = True
        except (ValkeyError, OSError, asyncio.IncompleteReadError) as error:
            what = type(error).__name__  # the text may show the address
            raise TransientError(f"the limits' authority: {what}", code="limits_unavailable") from error
        finally:
            if not done:
                await self._drop()

    async def _drop(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            with contextlib.suppress(ValkeyError, OSError):
                if client.connection is not None:
                    await client.connection.disconnect(nowait=True)
                await client.aclose()
