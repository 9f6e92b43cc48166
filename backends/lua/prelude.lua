-- What every script begins with.
local unpack = unpack or table.unpack
local function text(number) return string.format('%.0f', number) end
local function now()
    local time = redis.call('TIME')
    return tonumber(time[1]) * 1000000 + tonumber(time[2])
end
-- A document is `<head> <expires_us> <value>`. Its head is the version alone, or 27 digits: checksum and 10^9, `7`, version; see
-- `backends.redis_sums`. What is neither is damaged, and whoever reads it finds that out.
local prime = 4294967291
local function live(documents, key, time)
    local packed = redis.call('HGET', documents, key)
    if not packed then return false end
    local head, expires = string.match(packed, '^(%d+) (%d+) ')
    if head and #expires == 16 and (#head == 27 or #head <= 16) and tonumber(expires) <= (time or now()) then return false end
    return packed
end
-- Answers the version in digits, where the value begins, and the checksum if there is one; nothing for what is damaged.
local function split(packed)
    local head, expires, from = string.match(packed, '^(%d+) (%d+) ()')
    if not head or (expires ~= '0' and #expires ~= 16) then return nil end
    if #head == 27 and string.sub(head, 11, 11) == '7' then
        return text(tonumber(string.sub(head, 12))), from, tonumber(string.sub(head, 1, 10)) - 1000000000, tonumber(expires)
    end
    if #head <= 16 then return head, from end
end
-- content: the checksums of name and value.
local function checksum(content, version, expires) return (content + version % prime + expires % prime * 3) % prime end
local function pack(content, version, expires, value)
    local sum = checksum(content, version, tonumber(expires))
    return string.format('%.0f7%016.0f', sum + 1000000000, version) .. ' ' .. expires .. ' ' .. value
end
-- The Adler-32 of a short text.
local function adler(value)
    local a, b = 1, 0
    for n = 1, #value do
        a = a + string.byte(value, n)
        b = b + a
    end
    return b % 65521 * 65536 + a % 65521
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
