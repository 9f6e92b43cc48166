"""What the world sees: for each API its routes and schemas, in its own dialect."""
