"""What became of erased homes: rounds that tell when all bytes are gone, signed receipts of it, and a look through the
stores.
"""
