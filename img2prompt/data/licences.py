"""Names of licences under which a picture may be shown again with its credit."""

import re

_VERSIONS = ("1.0", "2.0", "2.5", "3.0", "4.0")  # of CC BY and CC BY-SA
# What the ways of writing a licence become, all but letters and digits, of any script, a space. A
# name that is not here is no licence for us: without commercial use, without changes, or unknown.
_ALLOWED = {
    "cc0": "CC0-1.0",
    "cc0 1 0": "CC0-1.0",
    "cc0 1 0 universal": "CC0-1.0",
    "public domain": "public domain",
    "public domain author dedication": "public domain",
    "unlicense": "Unlicense",
    "the unlicense": "Unlicense",
    "mit": "MIT",
    "mit license": "MIT",
    "apache 2 0": "Apache-2.0",
    "apache license 2 0": "Apache-2.0",
    "bsd": "BSD",
    "bsd 2 clause": "BSD-2-Clause",
    "bsd 3 clause": "BSD-3-Clause",
} | {
    f"{kind} {version}".lower().translate({45: 32, 46: 32}): f"{kind}-{version}"
    for kind in ("CC-BY", "CC-BY-SA")
    for version in _VERSIONS
}


def allowed_licence(name: str | None) -> str | None:
    """A licence's usual name where it lets everybody show a picture with its credit, else None.

    Allowed are CC0 and other dedications to the public domain, Unlicense, MIT, Apache, BSD, CC BY
    and CC BY-SA. Anything else, and anything unclear, is not.

    >>> allowed_licence("CC BY-SA 4.0"), allowed_licence("CC-BY-NC-4.0")
    ('CC-BY-SA-4.0', None)
    """
    return _ALLOWED.get(" ".join(re.findall(r"[^\W_]+", (name or "").lower())))
