-- Key: documents. Argument: a key. Answers what it holds, or false.
return live(KEYS[1], ARGV[1])
