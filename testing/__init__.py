"""What tests, chaos and benchmarks share: pictures, the reference model, stubs, fakes, load.

Runs in: test, chaos and benchmark processes, and in replicas of stub applications. Must not
import: tests, chaos or benchmarks.
"""
