-- Keys: documents, index, expiries, counters, dropped, changed, and the logs. Arguments:
--   1. the length of what precedes a log's name in its key;
--   2. how many there are of each of these: expectations, puts, deletes, appends, logs with drops, adds;
--   3. the expectations: (key, version);
--   4. the puts: (key, lifetime in microseconds or '', checksum of key and value, value);
--   5. the deletes: key;
--   6. the appends: (log's number, checksum of log and value, value);
--   7. the drops: (log's number, how many, ids);
--   8. the adds: (key, lifetime in microseconds or '', the most or '', checksum of the key, how many amounts, amounts).
-- Answers the version and the sequences; or 0, the key in conflict, and its version; or -1, the number of the add that would
-- pass its most, counted from 1, and what that would be; or -2 and the key of a damaged document.
--
-- The order of writes is what a server without room obeys. Redis denies a script its first write when that might take room,
-- and none after one that was let through. So the first is one that may be denied, and is let through by a write of nothing
-- for commits that make room.

local documents, index, expiries, counters, dropped, changed = unpack(KEYS, 1, 6)
local before = tonumber(ARGV[1])
local expected, put, deleted = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local appended, drops = tonumber(ARGV[5]), tonumber(ARGV[6])
local adds = tonumber(ARGV[7])
local puts = 8 + 2 * expected
local deletes = puts + 4 * put
local appends = deletes + deleted
local at = appends + 3 * appended
local time = now()

for n = 8, puts - 1, 2 do
    local packed = live(documents, ARGV[n], time)
    local version = '0'
    if packed then version = split(packed) end
    if not version then return {-2, ARGV[n]} end
    if version ~= ARGV[n + 1] then return {0, ARGV[n], version} end
end

-- The counters follow the drops, whose lengths vary.
local counted, sums = at, {}
for _ = 1, drops do counted = counted + 2 + tonumber(ARGV[counted + 1]) end
for n = 1, adds do
    local key, lifetime, most = ARGV[counted], ARGV[counted + 1], ARGV[counted + 2]
    local name, count = tonumber(ARGV[counted + 3]), tonumber(ARGV[counted + 4])
    local packed, numbers = live(documents, key, time), {}
    if packed then
        local version, from, sum, expires = split(packed)
        local value = version and string.sub(packed, from)
        if not version or (sum and sum ~= checksum(name + adler(value), tonumber(version), expires)) then return {-2, key} end
        for number in string.gmatch(value, '%-?%d+') do numbers[#numbers + 1] = tonumber(number) end
    end
    for m = 1, count do numbers[m] = (numbers[m] or 0) + tonumber(ARGV[counted + 4 + m]) end
    if most ~= '' and tonumber(ARGV[counted + 5]) > 0 and numbers[1] > tonumber(most) then
        return {-1, tostring(n), text(numbers[1])}
    end
    for m = 1, #numbers do numbers[m] = text(numbers[m]) end
    local value = table.concat(numbers, ' ')
    sums[n] = {key, lifetime, name + adler(value), value}
    counted = counted + 5 + count
end

local function makes_room()
    if appended > 0 then return false end
    local more = 0
    for n = puts, deletes - 1, 4 do
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
expire(documents, index, expiries, time, 250 + 2 * put + 2 * adds)

-- A dump that is under way reads these again.
local is_followed = redis.call('EXISTS', changed) == 1
local function note(key)
    if is_followed then redis.call('SADD', changed, 'document\0' .. key) end
end

for n = deletes, appends - 1 do note(ARGV[n]) end
in_parts(ARGV, deletes, deleted, function(...)
    redis.call('HDEL', documents, ...)
    redis.call('ZREM', index, ...)
    redis.call('ZREM', expiries, ...)
end)
local function store(key, lifetime, content, value)
    local expires = '0'
    note(key)
    if lifetime ~= '' then
        expires = text(math.min(math.max(time + tonumber(lifetime), 1e15), 1e16 - 2))
        redis.call('ZADD', expiries, expires, key)
    end
    if redis.call('HSET', documents, key, pack(content, version, expires, value)) == 1 then
        redis.call('ZADD', index, 0, key)
    elseif lifetime == '' then
        redis.call('ZREM', expiries, key)
    end
end
for n = puts, deletes - 1, 4 do store(ARGV[n], ARGV[n + 1], tonumber(ARGV[n + 2]), ARGV[n + 3]) end
for n = 1, adds do store(unpack(sums[n])) end
local done = {version}
for n = appends, at - 1, 3 do
    local log = KEYS[6 + tonumber(ARGV[n])]
    local sequence = redis.call('HINCRBY', counters, 'log:' .. string.sub(log, before + 1), 1)
    local sum = checksum(tonumber(ARGV[n + 1]), sequence, 0)
    redis.call('XADD', log, text(sequence) .. '-0', 'v', ARGV[n + 2], 's', text(sum))
    done[#done + 1] = sequence
end
for _ = 1, drops do
    local log, count, gone = KEYS[6 + tonumber(ARGV[at])], tonumber(ARGV[at + 1]), 0
    in_parts(ARGV, at + 2, count, function(...) gone = gone + redis.call('XDEL', log, ...) end)
    if gone > 0 then redis.call('SADD', dropped, string.sub(log, before + 1)) end
    if is_followed then
        for n = at + 2, at + 1 + count do
            redis.call('SADD', changed, 'entry\0' .. string.sub(log, before + 1) .. '\0' .. ARGV[n])
        end
    end
    at = at + 2 + count
end
return done
