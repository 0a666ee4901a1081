"""The launcher: starts Ray, deploys a YAML, waits until it is ready, drains and stops it.

Runs in: the launcher process, which is Ray's driver. Must not import: ingress, classifier or
model, whose code runs in processes that Ray starts. To find mistakes before Ray starts, it may
import `ingress.auth` and the modules of `model` that read files: `weights`, `cache`, `download`,
`checkpoint_file`, and `spec`.
"""
