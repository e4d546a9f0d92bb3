"""Tells callers' servers what happens: at least once, signed, in order, and never again after a 2xx.

outbox writes what is to be told in the transaction in which it happens; sending makes the attempts, in a process of
its own; circuits keeps a slow or dead host from holding up the others; listening is what account holders do.
"""
