"""The locks and the installed packages → docs/licences.md.

    python scripts/dev/list_licences.py     # or: make licences

Needs pip-licenses (requirements-tools.txt). Seconds.
"""

import sys
from pathlib import Path

import licences

from img2prompt.core.errors import UserError, run_command
from img2prompt.core.files import atomic_path

HEAD = """# Licences

Every package that a lock file names, and what the repository ships that was not written for it.
Printed by `python scripts/dev/list_licences.py` (`make licences`);
`tests/scripts/test_licences.py` fails when a locked package is missing here or has a licence that
is not on its list. The pictures and prompts that the models learned from are named in README,
*Licence, data and credits*. The wheels of numpy and scipy hold GCC's run-time libraries, whose GPL
has an exception for just that.

"""


def main() -> None:
    root = Path(__file__).resolve().parents[2]
    document = HEAD + licences.table(licences.installed()) + "\n"
    if wrong := licences.problems(document, licences.locked(root)):
        raise UserError("\n".join(wrong))
    with atomic_path(root / licences.DOCUMENT) as temporary:
        temporary.write_text(document, encoding="utf-8")
    print(licences.DOCUMENT)


if __name__ == "__main__":
    sys.exit(run_command(main))
