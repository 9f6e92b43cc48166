-- Keys: dropped, a log. Arguments: the log's name; then for entries without a checksum: (id, checksum).
--
-- Redis only marks an entry that is removed from the midst of a stream, and keeps its bytes, in its files too. So the stream
-- is emptied and filled again. Consumer groups and what is pending for them stay as they are.

local dropped, log, sums = KEYS[1], KEYS[2], {}
for n = 2, #ARGV, 2 do sums[ARGV[n]] = ARGV[n + 1] end
if redis.call('EXISTS', log) == 0 then return redis.call('SREM', dropped, ARGV[1]) end
local told, about = redis.call('XINFO', 'STREAM', log), {}
for n = 1, #told, 2 do about[told[n]] = told[n + 1] end
local entries = redis.call('XRANGE', log, '-', '+')
if #entries > 0 then
    redis.call('XTRIM', log, 'MAXLEN', '=', 0)
    redis.call('XSETID', log, '0-0')
    for _, entry in ipairs(entries) do
        local fields = entry[2]
        if #fields == 2 and sums[entry[1]] then fields[3], fields[4] = 's', sums[entry[1]] end
        redis.call('XADD', log, entry[1], unpack(fields))
    end
    if about['entries-added'] then
        redis.call('XSETID', log, about['last-generated-id'], 'ENTRIESADDED', text(about['entries-added']),
                   'MAXDELETEDID', about['max-deleted-entry-id'])
    else
        redis.call('XSETID', log, about['last-generated-id'])
    end
end
return redis.call('SREM', dropped, ARGV[1])
