"""The measurements behind the numbers of the README: `python -m benchmarks`, or `make bench`.

One file per measurement. What is compared is measured in the same run, in rounds that take turns, because a shared
machine is twice as fast one minute as the next: ratios and counters are worth quoting, single figures are not.
"""
