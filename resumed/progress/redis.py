"""Keep progress in one Redis server; every answer is one script, which runs alone there.

All keys begin with ``{resumed}:``, so that a cluster keeps them in one slot:

    jobs           sorted set of the ids of all jobs
    job:ID         hash: key, total, named, tolerate, instants, fault, claims of the reduce,
                   claimer: which question the last claim answered
    KEY:metadata   hash: name to JSON               KEY:load     hash: number to payload
    KEY:todo, KEY:done, KEY:lost                    bitmaps; each part is in one of them
    KEY:attempts   hash: number to count            KEY:faults   hash: number to JSON
    KEY:leases     sorted set: number by expiry     KEY:results  hash: number to JSON
    KEY:ids        hash: id to number, and          KEY:names    hash: number to id

KEY is drawn when a job is created, so a job that takes a deleted one's id shares nothing
with it. Parts are staged under KEY, where nobody finds them and they expire after a day,
until one script publishes the job. A client that heard no answer asks the same again: a
creation and a claim are answered then as they were the first time.

A Redis server may forget its last second in a crash unless it has ``appendonly yes`` and
``appendfsync always``: a part that was done is then run again, and a reduce that was
confirmed is sent again. `RedisProgress.caution` tells.
"""

import time
from collections.abc import Iterable, Mapping
from typing import Any
from uuid import uuid4

import redis

from resumed.progress import base
from resumed.progress.parts import Parts

_PREFIX = "{resumed}:"
_KINDS = ":metadata :load :todo :done :lost :attempts :faults :leases :results :ids :names"
_CLAIMING = frozenset({"claim", "complete", "fail", "give_up"})
_STAGED_SECONDS = 86_400
_CHUNK = 1000
_SCRIPT = """
local prefix, job, verb, part, now = KEYS[1], KEYS[2], ARGV[1], ARGV[2], tonumber(ARGV[3])
local id = string.sub(job, #prefix + #'job:' + 1)
local call = redis.call
local function field(name) return call('HGET', job, name) end
local key = verb == 'create' and ARGV[4] or field('key')
if not key then return {'JobDoesNotExist'} end
local function at(kind) return prefix .. key .. ':' .. kind end
if verb == 'create' then
  if field('key') then return {field('key') == key and 'Created' or 'JobExists'} end
  for kind in string.gmatch(ARGV[5], ':(%S+)') do call('PERSIST', at(kind)) end
  call('HSET', job, 'key', key, 'created', ARGV[3], unpack(ARGV, 6))
  return {'Created', call('ZADD', prefix .. 'jobs', 0, id)}
end
if field('claimer') == ARGV[#ARGV] and field('until') and not field('ended') then
  return {'Reduce', key, field('claims'), field('until')}
end
local function sent() return field('ended') or tonumber(field('until') or 0) > now end
local function ready()
  return call('BITPOS', at('todo'), 1) < 0 and not field('fault')
    and call('BITCOUNT', at('lost')) <= tonumber(field('tolerate'))
end
local function claim(otherwise)
  if sent() or not ready() then return {otherwise} end
  local till = string.format('%.6f', now + tonumber(ARGV[4]))
  call('HSET', job, 'until', till, 'claimer', ARGV[#ARGV])
  return {'Reduce', key, call('HINCRBY', job, 'claims', 1), till}
end
local function row(n)
  return {n, call('HGET', at('names'), n), call('HGET', at('load'), n),
    call('HGET', at('attempts'), n), call('HGET', at('faults'), n), call('GETBIT', at('lost'), n),
    call('ZSCORE', at('leases'), n), call('HGET', at('results'), n)}
end
local function list(kind, n, limit)
  local rows = {'Rows'}
  while n >= 0 and #rows <= limit do
    if n % 8 == 0 then n = call('BITPOS', at(kind), 1, n / 8) end
    if n >= 0 and call('GETBIT', at(kind), n) == 1 then
      local till = kind == 'todo' and call('ZSCORE', at('leases'), n)
      if not till or tonumber(till) <= now then table.insert(rows, row(n)) end
    end
    n = n < 0 and n or n + 1
  end
  return rows
end

if verb == 'job' then
  return {'Job', call('HGETALL', job), call('BITCOUNT', at('done')), call('BITCOUNT', at('lost')),
    call('ZCOUNT', at('leases'), '(' .. ARGV[3], '+inf'), call('HGETALL', at('metadata')),
    ready() and 1 or 0}
elseif verb == 'list' then return list(ARGV[4], tonumber(ARGV[5]) + 1, tonumber(ARGV[6]))
elseif verb == 'describe' then
  return {'Described', #ARGV > 3 and call('HSET', at('metadata'), unpack(ARGV, 4))}
elseif verb == 'claim' then return claim('StillOpen')
elseif verb == 'confirm' then
  if key ~= ARGV[4] or field('ended') or not field('claims') or not ready() then return {'Late'} end
  return {'Confirmed', call('HSET', job, 'ended', ARGV[3])}
elseif verb == 'release' then
  if key == ARGV[4] and field('claims') == ARGV[5] then call('HDEL', job, 'until') end
  return {'Released'}
elseif verb == 'delete' then
  for kind in string.gmatch(ARGV[4], ':(%S+)') do call('UNLINK', at(kind)) end
  return {'Deleted', call('ZREM', prefix .. 'jobs', id), call('DEL', job)}
elseif verb == 'fail_job' then
  return sent() and {'JobEnded'} or {'Failed', call('HSETNX', job, 'fault', ARGV[4])}
elseif verb == 'retry' then
  if sent() then return {'JobEnded'} end
  local lost = call('BITCOUNT', at('lost'))
  if lost > 0 then call('BITOP', 'OR', at('todo'), at('todo'), at('lost')) end
  return {'Retried', lost, call('DEL', at('lost')), call('HDEL', job, 'fault')}
end

local n, value = field('named') == '1' and call('HGET', at('ids'), part), tonumber(part)
if field('named') == '0' and string.match(part, '^%d+$') and value < tonumber(field('total')) then
  n = string.format('%.0f', value) == part and part
end
if not n then return {'PartDoesNotExist'} end
local attempts, till = call('HGET', at('attempts'), n) or '0', call('ZSCORE', at('leases'), n)
local function lease()
  local fresh = string.format('%.6f', now + tonumber(ARGV[4]))
  call('ZADD', at('leases'), fresh, n)
  return {'Lease', call('HGET', at('attempts'), n), fresh, call('HGET', at('load'), n)}
end
local function move(target)
  for _, kind in ipairs({'todo', 'done', 'lost'}) do
    call('SETBIT', at(kind), n, kind == target and 1 or 0)
  end
  call('ZREM', at('leases'), n)
  call('HSET', job, 'changed', ARGV[3])
end

if verb == 'part' then return {'Row', row(n)}
elseif verb == 'complete' then
  if call('GETBIT', at('done'), n) == 1 then return claim('AlreadyDone') end
  move('done')
  call('HSET', at('results'), n, '[' .. ARGV[5] .. ',' .. ARGV[3] .. ']')
  return claim('StillOpen')
elseif verb ~= 'begin' and (not till or attempts ~= ARGV[5]) then return {'LeaseLost'}
elseif verb == 'fail' or verb == 'give_up' then
  call('HSET', at('faults'), n, ARGV[6])
  move(verb == 'fail' and 'todo' or 'lost')
  return claim('StillOpen')
end
if field('fault') then return {'JobFailed', field('fault')} end
if verb == 'extend' then return lease() end
if call('GETBIT', at('done'), n) == 1 then return {'AlreadyDone'} end
if call('GETBIT', at('lost'), n) == 1 then return {'PartGivenUp'} end
if till and tonumber(till) > now then return {'PartLeased', till} end
if till then call('HSET', at('faults'), n, (string.gsub(ARGV[5], '#', attempts))) end
call('HINCRBY', at('attempts'), n, 1)
return lease()
"""


class RedisProgress(base.Progress):
    """Keep progress in Redis; *keywords* go to `redis.Redis`. Threads may share it."""

    def __init__(  # noqa: PLR0913 - the arguments of watchbot_progress, and a clock
        self,
        topic_arn: str | None = None,
        host: str = "localhost",
        port: int = 6379,
        db: int = 0,
        delete_when_done: bool = False,  # noqa: FBT001, FBT002 - as watchbot_progress has it
        *,
        clock: base.Clock = time.time,
        **keywords: Any,  # noqa: ANN401 - whatever redis.Redis takes
    ) -> None:
        super().__init__(topic=topic_arn, delete_when_done=delete_when_done, clock=clock)
        keywords["decode_responses"] = True
        self.redis: Any = redis.Redis(host=host, port=port, db=db, **keywords)
        self._script = self.redis.register_script(_SCRIPT)

    def caution(self) -> str | None:
        """Say what a crash of the server may lose, None when nothing."""
        remedy = "set appendonly yes and appendfsync always, or a crash may lose answers"
        try:
            kept = self.redis.config_get("append*")
        except redis.ResponseError:
            return f"redis: the server does not tell how it keeps data; {remedy}"
        safe = (kept.get("appendonly"), kept.get("appendfsync")) == ("yes", "always")
        return None if safe else f"redis: {remedy}"

    def close(self) -> None:
        """Close the connections."""
        self.redis.close()

    def store(
        self, job_id: str, parts: Parts, metadata: Mapping[str, str], tolerate: int, now: float
    ) -> bool:
        """Stage the parts where nobody finds them, then publish the job."""
        key = uuid4().hex
        self._stage(f"{_PREFIX}{key}", parts, metadata)
        fields = ("total", parts.total, "named", int(not parts.numbered), "tolerate", tolerate)
        answer = self.ask("create", job_id, None, now, key, _KINDS, *fields)
        if answer[0] == "JobExists":
            self.redis.unlink(*(f"{_PREFIX}{key}{kind}" for kind in _KINDS.split()))
        return bool(answer[0] == "Created")

    def _stage(self, staged: str, parts: Parts, metadata: Mapping[str, str]) -> None:
        pipe = self.redis.pipeline(transaction=False)
        if metadata:
            pipe.hset(f"{staged}:metadata", mapping=dict(metadata))
        if parts.total:
            whole, rest = divmod(parts.total, 8)
            pipe.set(
                f"{staged}:todo", b"\xff" * whole + bytes([0xFF00 >> rest & 0xFF] * (rest > 0))
            )
        for chunk in parts.chunks(_CHUNK):
            pipe.hset(f"{staged}:load", mapping={entry.number: entry.text for entry in chunk})
            if not parts.numbered:
                pipe.hset(f"{staged}:names", mapping={entry.number: entry.id for entry in chunk})
                pipe.hset(f"{staged}:ids", mapping={entry.id: entry.number for entry in chunk})
            for kind in _KINDS.split():
                pipe.expire(staged + kind, _STAGED_SECONDS)
            pipe.execute()
        pipe.execute()

    def ids(self, after: str, limit: int) -> Iterable[str]:
        """Ask the index."""
        first = f"({after}" if after else "-"
        listed: list[str] = self.redis.zrangebylex(f"{_PREFIX}jobs", first, "+", 0, limit)
        return listed

    def ask(
        self,
        verb: str,
        job_id: str,
        part_id: str | None,
        now: float,
        *arguments: Any,  # noqa: ANN401 - see Raw
    ) -> base.Raw:
        """Run the script."""
        keys = [_PREFIX, f"{_PREFIX}job:{job_id}"]
        if verb == "describe":
            arguments = tuple(text for pair in arguments[0].items() for text in pair)
        if verb == "begin":
            arguments = (*arguments, base.LAPSED)
        if verb == "delete":
            arguments = (_KINDS,)
        if verb in _CLAIMING:
            arguments = (*arguments, uuid4().hex)
        answer = self._script(keys, [verb, part_id or "", f"{now:.6f}", *arguments])
        if answer[0] == "Job":
            for place in (1, 5):
                answer[place] = dict(zip(answer[place][::2], answer[place][1::2], strict=True))
        return answer
