"""What the gate costs, measured beside what it could be compared with: ``python -m tests.bench``.

Nothing here is a test: no number is asserted anywhere. Everything that touches the kernel does so
in network namespaces of its own, which are removed whatever happens.
"""
