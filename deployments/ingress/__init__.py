"""HTTP and gRPC in front of the Classifier: parses uploads, decodes images, responds.

Runs in: Ingress replicas, on the CPU. Must not import: torch, openvino, the classifier
package, or a model's engine.
"""
