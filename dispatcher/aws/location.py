"""Parser of the object locations that the service writes."""

import re

from dispatcher.aws.requests import Location

_S3 = re.compile(r"s3://([^/]+)/(.+)", re.DOTALL)
_VIRTUAL_HOST = re.compile(r"https://([^/]+?)\.s3[.-][^/]*amazonaws\.com[^/]*/(.+)", re.DOTALL)
_PATH_STYLE = re.compile(r"https://s3[.-][^/]*amazonaws\.com[^/]*/([^/]+)/(.+)", re.DOTALL)


def parse_location(text: str) -> Location | None:
    """Return the bucket and key of ``s3://bucket/key`` or an https URL of S3; None if neither.

    Keys are taken as they stand: captured events show that the service does not encode them.
    """
    for form in (_S3, _VIRTUAL_HOST, _PATH_STYLE):
        if match := form.fullmatch(text):
            return Location(match[1], match[2])
    return None
