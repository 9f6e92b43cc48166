-- What every script begins with.
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
-- 500 at a time: Lua's stack takes only some thousands.
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
