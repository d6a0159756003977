"""The codec against real Infinispan servers; see README.md."""
