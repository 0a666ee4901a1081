"""What every process shares: settings, errors, messages, class labels.

Runs in: every process. Must not import: any other package of this service, torch or openvino.
"""
