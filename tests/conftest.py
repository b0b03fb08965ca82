"""For all tests: hypothesis draws fewer examples, and botocore's data is read once.

Examples are not timed, because the machine may be busy with others; and there are fewer than usual,
because each run draws others and ``make test`` ends within seven minutes.
"""

from functools import cache
from typing import Any

from botocore.loaders import JSONFileLoader, Loader
from hypothesis import settings

settings.register_profile("suite", deadline=None, max_examples=60, print_blob=True)
settings.load_profile("suite")


def read_botocore_data_once() -> None:
    """Let all sessions of a process share what they read of botocore's own data.

    A session parses the models of its services again, some 50 ms for the three clients of a run,
    and hundreds of tests open them. Shared is only what nothing changes: not the model of the
    runtime, into which our extras are merged, and nothing outside botocore's own folder.
    """
    load_file, list_services = JSONFileLoader.load_file, Loader.list_available_services

    @cache
    def parsed(path: str) -> Any:
        return load_file(JSONFileLoader(), path)

    services = dict[tuple[str, ...], Any]()

    def load(self: Any, path: str) -> Any:
        is_shared = path.startswith(Loader.BUILTIN_DATA_PATH) and "sagemaker-runtime" not in path
        return parsed(path) if is_shared else load_file(self, path)

    def available(self: Any, type_name: str) -> Any:
        key = (type_name, *self.search_paths)
        if key not in services:
            services[key] = list_services(self, type_name)
        return services[key]

    JSONFileLoader.load_file = load
    Loader.list_available_services = available


read_botocore_data_once()
