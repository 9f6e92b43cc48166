-- Keys: documents, index. Arguments: bounds, how many keys to look at, and after how many bytes to stop. Answers the key to
-- go on after, or false, and what it found.
local keys = redis.call('ZRANGEBYLEX', KEYS[2], ARGV[1], ARGV[2], 'LIMIT', 0, ARGV[3])
local time, found, bytes = now(), {}, 0
for _, key in ipairs(keys) do
    local packed = live(KEYS[1], key, time)
    if packed then
        found[#found + 1] = key
        found[#found + 1] = packed
        bytes = bytes + #packed
        if bytes >= tonumber(ARGV[4]) then return {key, found} end
    elseif redis.call('HEXISTS', KEYS[1], key) == 0 then
        found[#found + 1] = key
        found[#found + 1] = '' -- the key of no document is damaged
    end
end
return {#keys == tonumber(ARGV[3]) and keys[#keys] or false, found}
