"""The Open Inference Protocol (V2), as clients of Triton and KServe speak it.

Runs in: Ingress replicas. Must not import: the http package.

`tensors` holds what a tensor is, `model` and `outputs` what the model takes and gives, `rest`
and `grpc` only how each transport writes it down.
"""
