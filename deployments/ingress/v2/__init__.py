"""The Open Inference Protocol (V2), as clients of Triton and KServe speak it.

One translation, two faces: `protocol` holds what a tensor is, `inference` what the model
takes and answers, `rest` and `grpc` only how each transport writes it down.
"""
