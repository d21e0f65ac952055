"""qlog: read, validate and write event logs of QUIC. Imports nothing of the endpoint; see README.md."""
