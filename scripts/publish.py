"""A folder of artifacts → a model repository on the hub, in one commit.

    python scripts/publish.py --repo user/name --dry-run
    python scripts/publish.py --repo user/name
    python scripts/publish.py --repo user/name --assets mine --private

Pushes what the folder's manifest lists, the manifest, and the model card with the documents that
it links to; shows them and asks first. Needs a token that may write (`hf auth login`, or HF_TOKEN).
Takes as long as the upload, 90 MB of `assets/`; what the hub has already is not sent again.
"""

import argparse
import sys
from pathlib import Path

from img2prompt.core.cli import agreed, run_command
from img2prompt.training.publish import check_token, plan_publication, publish


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repo", required=True, help="user/name on the hub; made if need be")
    parser.add_argument("--assets", type=Path, help="a folder with a manifest; default: assets/")
    parser.add_argument("--card", type=Path, help="the model card; unset, MODEL_CARD.md")
    parser.add_argument("--private", action="store_true", help="only if the repository is private")
    parser.add_argument("--revision", metavar="BRANCH", help="default: main; made if need be")
    parser.add_argument("--message", help="of the commit; unset, one that names the presets")
    parser.add_argument("--dry-run", action="store_true", help="show what would be sent, and stop")
    parser.add_argument("--yes", action="store_true", help="don't ask")
    args = parser.parse_args()
    plan = plan_publication(
        args.repo,
        args.assets,
        card=args.card,
        private=args.private,
        branch=args.revision,
        message=args.message,
    )
    for upload in plan.uploads:
        print(f"{upload.name:<24} {upload.size / 2**20:8.2f} MB")
    where = f"{plan.repo}, branch {plan.branch}{', private' if plan.private else ''}"
    print(f"{len(plan.uploads)} files, {plan.size / 2**20:.1f} MB, to {where}: {plan.message}")
    if args.dry_run:
        return 0
    check_token()
    if not agreed("Publish?", args.yes, sys.stdin.isatty()):
        print("Nothing was sent.")
        return 1
    done = publish(plan)
    if not done.changed:
        print(f"Nothing has changed: {plan.repo} holds exactly this.")
    print(done.url)
    print(done.line)
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))
