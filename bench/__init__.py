"""Benchmarks of hotrod_codec: each row a ratio to a reference of the same run; see README.md."""
