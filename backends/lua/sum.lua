-- Key: documents. Arguments: (key, version, checksum of key and value) of documents that have no checksum. Answers how many have
-- one now; one that was written meanwhile has it already.
local count = 0
for n = 1, #ARGV, 3 do
    local packed = redis.call('HGET', KEYS[1], ARGV[n])
    local head, expires, from = string.match(packed or '', '^(%d+) (%d+) ()')
    if head == ARGV[n + 1] then
        redis.call('HSET', KEYS[1], ARGV[n], pack(tonumber(ARGV[n + 2]), tonumber(head), expires, string.sub(packed, from)))
        count = count + 1
    end
end
return count
