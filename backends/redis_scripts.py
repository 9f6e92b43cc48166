"""What Redis does in one step, in Lua. Each script touches one space, whose keys share a slot, and is given all of them.

Documents rest as `<version> <expires_us> <value>`, times in microseconds of the server's clock, 0 for ever. All numbers stay
below 2^53, where Lua's are exact; versions are compared as text.
"""

from __future__ import annotations

import hashlib


class Script:
    """A script and the name under which Redis remembers it until it is restarted."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.sha = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


# 500 at a time: Lua's stack takes only some thousands.
_PRELUDE = """
local unpack = unpack or table.unpack
local function text(number) return string.format('%.0f', number) end
local function now()
    local time = redis.call('TIME')
    return tonumber(time[1]) * 1000000 + tonumber(time[2])
end
local function live(documents, key, time)
    local packed = redis.call('HGET', documents, key)
    if not packed then return false end
    local expires = string.match(packed, '^%d+ (%d+) ')
    if expires ~= '0' and tonumber(expires) <= (time or now()) then return false end
    return packed
end
local function in_parts(list, first, count, act)
    for low = first, first + count - 1, 500 do
        act(unpack(list, low, math.min(low + 499, first + count - 1)))
    end
end
local function expire(documents, index, expiries, time, limit)
    local gone = redis.call('ZRANGEBYSCORE', expiries, '-inf', text(time), 'LIMIT', 0, limit)
    in_parts(gone, 1, #gone, function(...)
        redis.call('HDEL', documents, ...)
        redis.call('ZREM', index, ...)
        redis.call('ZREM', expiries, ...)
    end)
    return #gone
end
"""

GET = Script(_PRELUDE + "return live(KEYS[1], ARGV[1])")

# Key: documents. Arguments: keys. Answers what each holds, or false.
GET_MANY = Script(
    _PRELUDE
    + """
local time, found = now(), {}
for n, key in ipairs(ARGV) do found[n] = live(KEYS[1], key, time) end
return found
"""
)

# Keys: documents, index. Arguments: bounds, how many keys to look at, and after how many bytes to stop. Answers the key to
# go on after, or false, and what it found.
SCAN = Script(
    _PRELUDE
    + """
local keys = redis.call('ZRANGEBYLEX', KEYS[2], ARGV[1], ARGV[2], 'LIMIT', 0, ARGV[3])
local time, found, bytes = now(), {}, 0
for _, key in ipairs(keys) do
    local packed = live(KEYS[1], key, time)
    if packed then
        found[#found + 1] = key
        found[#found + 1] = packed
        bytes = bytes + #packed
        if bytes >= tonumber(ARGV[4]) then return {key, found} end
    end
end
return {#keys == tonumber(ARGV[3]) and keys[#keys] or false, found}
"""
)

# Keys: documents, index, expiries, counters, dropped, and the logs. Arguments: the length of what precedes a log's name in its
# key; how many there are of each; then (key, version), (key, lifetime or '', value), key, (log's number, value), and (log's
# number, how many, ids). Answers the version and the sequences, or 0, the key in conflict, and its version.
#
# The order of writes is what a server without room obeys: Redis denies a script its first write when that might take room,
# and none after one that was let through. So the first is one that may be denied, and is let through by a write of nothing
# for commits that make room.
COMMIT = Script(
    _PRELUDE
    + """
local documents, index, expiries, counters, dropped = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local before = tonumber(ARGV[1])
local expected, put, deleted = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local appended, drops = tonumber(ARGV[5]), tonumber(ARGV[6])
local puts = 7 + 2 * expected
local deletes = puts + 3 * put
local appends = deletes + deleted
local at = appends + 2 * appended
local time = now()

for n = 7, puts - 1, 2 do
    local packed = live(documents, ARGV[n], time)
    local version = packed and string.match(packed, '^%d+') or '0'
    if version ~= ARGV[n + 1] then return {0, ARGV[n], version} end
end

local function makes_room()
    if appended > 0 then return false end
    local more = 0
    for n = puts, deletes - 1, 3 do
        if ARGV[n + 1] == '' then more = more + 1 - redis.call('HEXISTS', documents, ARGV[n]) end
    end
    for n = deletes, appends - 1 do
        more = more - redis.call('HEXISTS', documents, ARGV[n])
    end
    return more <= 0
end

-- Microseconds, so that a server that takes over without the last commits gives other versions than those had.
local step = text(math.max(1, time - tonumber(redis.call('HGET', counters, 'version') or '0')))
local version = redis.pcall('HINCRBY', counters, 'version', step)
if type(version) == 'table' then
    if not string.find(version.err, 'OOM', 1, true) or not makes_room() then return version end
    redis.call('HDEL', counters, '')
    version = redis.call('HINCRBY', counters, 'version', step)
end
-- More than are put, or documents with a lifetime would pile up.
expire(documents, index, expiries, time, 250 + 2 * put)

in_parts(ARGV, deletes, deleted, function(...)
    redis.call('HDEL', documents, ...)
    redis.call('ZREM', index, ...)
    redis.call('ZREM', expiries, ...)
end)
for n = puts, deletes - 1, 3 do
    local key, lifetime, expires = ARGV[n], ARGV[n + 1], '0'
    if lifetime ~= '' then
        expires = text(time + tonumber(lifetime))
        redis.call('ZADD', expiries, expires, key)
    end
    if redis.call('HSET', documents, key, text(version) .. ' ' .. expires .. ' ' .. ARGV[n + 2]) == 1 then
        redis.call('ZADD', index, 0, key)
    elseif lifetime == '' then
        redis.call('ZREM', expiries, key)
    end
end
local done = {version}
for n = appends, at - 1, 2 do
    local log = KEYS[5 + tonumber(ARGV[n])]
    local sequence = redis.call('HINCRBY', counters, 'log:' .. string.sub(log, before + 1), 1)
    redis.call('XADD', log, text(sequence) .. '-0', 'v', ARGV[n + 1])
    done[#done + 1] = sequence
end
for _ = 1, drops do
    local log, count, gone = KEYS[5 + tonumber(ARGV[at])], tonumber(ARGV[at + 1]), 0
    in_parts(ARGV, at + 2, count, function(...) gone = gone + redis.call('XDEL', log, ...) end)
    if gone > 0 then redis.call('SADD', dropped, string.sub(log, before + 1)) end
    at = at + 2 + count
end
return done
"""
)

# Keys: documents, index, expiries. Answers how many are left to be removed, at least.
EXPIRE = Script(_PRELUDE + "return expire(KEYS[1], KEYS[2], KEYS[3], now(), 1000)")

# Keys: dropped, a log. Argument: the log's name. Redis only marks an entry that is removed from the midst of a stream, and
# keeps its bytes, in its files too: so the stream is emptied and filled again. Consumer groups and what is pending for them
# stay as they are.
REBUILD = Script(
    _PRELUDE
    + """
local dropped, log = KEYS[1], KEYS[2]
if redis.call('EXISTS', log) == 0 then return redis.call('SREM', dropped, ARGV[1]) end
local told, about = redis.call('XINFO', 'STREAM', log), {}
for n = 1, #told, 2 do about[told[n]] = told[n + 1] end
local entries = redis.call('XRANGE', log, '-', '+')
if #entries > 0 then
    redis.call('XTRIM', log, 'MAXLEN', '=', 0)
    redis.call('XSETID', log, '0-0')
    for _, entry in ipairs(entries) do
        redis.call('XADD', log, entry[1], unpack(entry[2]))
    end
    if about['entries-added'] then
        redis.call('XSETID', log, about['last-generated-id'], 'ENTRIESADDED', text(about['entries-added']),
                   'MAXDELETEDID', about['max-deleted-entry-id'])
    else
        redis.call('XSETID', log, about['last-generated-id'])
    end
end
return redis.call('SREM', dropped, ARGV[1])
"""
)
