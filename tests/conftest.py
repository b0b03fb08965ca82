"""For all tests: examples are not timed, the machine may be busy with others."""

from hypothesis import settings

settings.register_profile("untimed", deadline=None, print_blob=True)
settings.load_profile("untimed")
