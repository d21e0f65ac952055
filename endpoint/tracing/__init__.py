"""Tracers: what becomes of the calls that `endpoint.trace` describes."""

from endpoint.tracing.qlog import QlogFolder

__all__ = ["QlogFolder"]
