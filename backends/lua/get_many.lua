-- Key: documents. Arguments: keys. Answers what each holds, or false.
local time, found = now(), {}
for n, key in ipairs(ARGV) do found[n] = live(KEYS[1], key, time) end
return found
