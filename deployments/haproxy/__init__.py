"""The program that Ray starts as HAProxy: it adapts Ray's configuration and becomes HAProxy.

Runs in: HAProxy's own process, before HAProxy. Must not import: anything but the standard
library, since each reload waits for it.
"""
