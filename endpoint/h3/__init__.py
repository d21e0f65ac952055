"""HTTP/3 (RFC 9114) on a QUIC connection, without I/O: `connection.H3Connection` is the way in."""
