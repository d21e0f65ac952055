"""What the public interop runner does to an endpoint, on one machine: networks, captures and verdicts."""
