-- Keys: documents, index, expiries. Answers how many are left to be removed, at least.
return expire(KEYS[1], KEYS[2], KEYS[3], now(), 1000)
