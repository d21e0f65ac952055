"""QUIC in captures: datagrams, packets, frames and handshake messages, decrypted with a key log."""
