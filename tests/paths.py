"""Where the checkout's folders lie, for all tests."""

from pathlib import Path

TESTS = Path(__file__).resolve().parent
ROOT = TESTS.parent
ASSETS = ROOT / "assets"
EXAMPLES = ASSETS / "examples"
CASES = TESTS / "cases"  # small inputs that once went wrong
