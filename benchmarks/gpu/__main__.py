"""`python -m benchmarks.gpu`, or `make bench-gpu`."""

if __name__ == "__main__":  # the processes that it starts import this, and want no torch
    from benchmarks.gpu.run import main

    raise SystemExit(main())
