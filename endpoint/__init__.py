"""A QUIC endpoint in plain Python: sans-I/O core, TLS 1.3, and asyncio at the edge."""
