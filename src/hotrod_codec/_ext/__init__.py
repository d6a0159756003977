"""The compiled modules. Nothing here is public: import from ``hotrod_codec``."""
