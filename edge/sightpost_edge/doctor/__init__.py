"""What is wrong with this station, why it matters, and the command that mends it.

Adding a check: a function ``check_NAME(host: Host) -> Iterator[Finding]`` in one of the modules
listed in ``examine.MODULES``, its place in that module's ``CHECKS``, and a test that plants the
fault. It asks the machine through ``Host`` only, so that a test can answer instead.
"""
