-- Keys: documents, index, expiries, counters, dropped, and the logs. Arguments:
--   1. the length of what precedes a log's name in its key;
--   2. how many there are of each of these: expectations, puts, deletes, appends, logs with drops;
--   3. the expectations: (key, version);
--   4. the puts: (key, lifetime in microseconds or '', value);
--   5. the deletes: key;
--   6. the appends: (log's number, value);
--   7. the drops: (log's number, how many, ids).
-- Answers the version and the sequences; or 0, the key in conflict, and its version.
--
-- The order of writes is what a server without room obeys. Redis denies a script its first write when that might take room,
-- and none after one that was let through. So the first is one that may be denied, and is let through by a write of nothing
-- for commits that make room.

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
