"""The web page: `python app.py`, then open http://127.0.0.1:7860.

Hugging Face Spaces runs this file without arguments. It builds and launches the page from
`img2prompt/ui/`, nothing else.
"""

import argparse
import sys
from functools import partial

# Nothing that takes time is loaded before signals are heard.
from img2prompt.core.cli import run_command
from img2prompt.core.errors import UserError
from img2prompt.ui.server.stop import run_until_stopped


def main() -> None:
    parser = argparse.ArgumentParser(description="Serve the img2prompt page.")
    parser.add_argument("--host", help="default: GRADIO_SERVER_NAME, or this machine only")
    parser.add_argument("--port", type=int, help="default: the first free one from 7860")
    parser.add_argument(
        "--assets", help="folder of artifacts, or user/name on the hub; default: assets/"
    )
    parser.add_argument("--revision", help="a branch, tag or commit of user/name")
    parser.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME",
        help="also answer under this name, that of a proxy on this machine; may be repeated",
    )
    parser.add_argument("--preset", help="the model switched on at first")
    parser.add_argument("--language", default="en", help="the language of / (default en)")
    parser.add_argument(
        "--show-all-words", action="store_true", help="also show words of the block list"
    )
    args = parser.parse_args()
    if args.port is not None and not 0 < args.port < 65536:
        raise UserError("ui.bad_port", port=args.port)
    from img2prompt.inference.artifacts import open_assets

    assets = open_assets(args.assets, args.revision)
    from img2prompt.ui.page import Options, launch  # two seconds; wrong arguments are told at once

    options = Options(args.preset, args.language, args.show_all_words)
    launch(assets, options, args.host, args.port, allow_hosts=args.allow_host)


if __name__ == "__main__":
    sys.exit(run_until_stopped(partial(run_command, main)))
