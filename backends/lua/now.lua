-- Keys: any of a space. Answers the server's time, in microseconds since 1970.
return now()
