"""The HTTP side of the Ingress: routes, middleware, bodies and the web page.

Runs in: Ingress replicas (`edge`, `http_protocol` and `framing` in Ray's HTTP proxy, too). Must
not import: the v2 package; only `edge` imports Ray.
"""
