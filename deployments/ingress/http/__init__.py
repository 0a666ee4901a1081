"""The HTTP side of the Ingress: routes, middleware, bodies and the web page.

Runs in: Ingress replicas (`edge` and `connection` in Ray's HTTP proxy, too). Must not import:
Ray, or the gRPC side.
"""
