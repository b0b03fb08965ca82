"""For all tests: examples are not timed, the machine may be busy with others; and they are fewer
than usual, because each run draws others and the whole suite is to end in ten minutes."""

from hypothesis import settings

settings.register_profile("suite", deadline=None, max_examples=60, print_blob=True)
settings.load_profile("suite")
