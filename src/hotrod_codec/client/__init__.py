"""Clients for Hot Rod servers, over the codec.

What is inside: config (what a client can be told), uri and properties (other ways to tell it).
"""
