"""Public helpers for tests: a network and a pair in virtual time, a lossy relay, certificates."""
