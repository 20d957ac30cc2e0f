"""The upload route: files of a multipart form are written to the private folder, within limits.

It takes the place of Gradio's own route, which holds form fields in memory without a limit, leaves
the files of an aborted upload behind, and names files by their content.
"""

import asyncio
import time
from pathlib import Path

from gradio.route_utils import GradioMultiPartParser
from gradio.routes import file_upload_statuses
from gradio_client.utils import strip_invalid_filename_characters
from python_multipart.multipart import parse_options_header
from starlette.datastructures import Headers
from starlette.formparsers import MultiPartException
from starlette.requests import ClientDisconnect, Request
from starlette.types import Message, Receive

from img2prompt.core.files import DISK_FULL, format_bytes
from img2prompt.data.images import MAX_BYTES
from img2prompt.ui.server.uploads import CLIENT_BYTES, Delivery, Refused, Uploads

MAX_FILES = 1_000  # in one form; a browser sends more in several
IDLE_SECONDS = 20.0  # without a byte
LONGEST = 3_000.0  # for one body; a file that is older is swept, whether others still come or not
SLOWEST = 10_000  # bytes a second on average, after IDLE_SECONDS
NAME_BYTES = 120  # most systems take 255, and the name is shown
MAX_UPLOAD = CLIENT_BYTES + 2**20  # bytes of one form, with what stands between its files


def limited(receive: Receive, most: int, key: str) -> Receive:
    """`receive`, but for bodies that are too long or too slow.

    Args:
        receive: the request's.
        most: bytes of the whole body.
        key: of the sentence for one that is longer.

    Returns:
        A `receive` that raises `Refused` in their place.
    """
    started, taken = time.monotonic(), 0

    async def receive_within() -> Message:
        nonlocal taken
        seconds = time.monotonic() - started
        if seconds > LONGEST or (seconds > IDLE_SECONDS and taken < SLOWEST * seconds):
            raise Refused(408, "slow")
        try:
            message = await asyncio.wait_for(receive(), IDLE_SECONDS)
        except TimeoutError:
            raise Refused(408, "slow") from None
        taken += len(message.get("body", b""))
        if taken > most:
            raise Refused(413, key, most=format_bytes(most, 1024))
        return message

    return receive_within


async def receive_files(request: Request, uploads: Uploads, client: str) -> list[str]:
    """Write the files of a multipart form to the private folder.

    Args:
        request: the upload; its query may name an `upload_id` under which progress is told.
        uploads: where the files go.
        client: who sends them.

    Returns:
        The files' paths in the form's order; they can be named in calls from now on.

    Raises:
        Refused: no form of files, or one that is too large, too slow or finds no room. Nothing of
            it is kept then.
    """
    kind, _ = parse_options_header(request.headers.get("content-type", ""))
    if kind != b"multipart/form-data":
        raise Refused(415, "form")
    progress = request.query_params.get("upload_id")
    with uploads.delivery(client) as arriving:
        parser = _Parser(request.headers, request.stream(), uploads, arriving, progress)
        try:
            form = await parser.parse()
            for file in form.getlist("files"):
                path = arriving.folder / _name(file.filename, len(arriving.kept))
                path.parent.mkdir()
                file.file.close()
                Path(file.file.name).rename(path)
                arriving.kept[str(path)] = path.stat().st_size
        except (MultiPartException, ClientDisconnect, OSError, Refused) as error:
            arriving.kept.clear()
            parser.close()
            raise _refusal(error) from None
        if not arriving.kept:
            raise Refused(400, "form")
        return list(arriving.kept)


class _Parser(GradioMultiPartParser):
    """Gradio's, which writes files while they arrive; it takes nothing but files."""

    def __init__(
        self,
        headers: Headers,
        stream: object,
        uploads: Uploads,
        arriving: Delivery,
        progress: str | None,
    ) -> None:
        super().__init__(
            headers,
            stream,
            max_files=MAX_FILES,
            max_fields=0,
            upload_dir=arriving.folder,
            upload_id=progress,
            upload_progress=file_upload_statuses if progress else None,
            max_file_size=MAX_BYTES,
        )
        self.uploads, self.arriving = uploads, arriving
        if progress:
            file_upload_statuses.track(progress)

    def on_headers_finished(self) -> None:
        super().on_headers_finished()  # raises at the first field that is no file
        if self._current_part.field_name != "files":
            raise MultiPartException("Too many fields.")
        self.uploads.count(self.arriving, files=1)

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        self.uploads.count(self.arriving, size=end - start)
        super().on_part_data(data, start, end)

    def close(self) -> None:
        """Close what is open; the folder with the files goes with the delivery."""
        for file in self._files_to_close_on_error:
            file.close()
        if self.upload_progress is not None:
            self.upload_progress.set_done(self.upload_id)


def _refusal(error: Exception) -> Exception:
    """What a failed upload is refused with; a fault of ours stays what it is."""
    if isinstance(error, Refused):
        return error
    if isinstance(error, OSError):
        return Refused(507, "full") if error.errno in DISK_FULL else error
    told = error.message if isinstance(error, MultiPartException) else ""
    if "maximum allowed size of" in told and "File" in told:
        return Refused(413, "large", most=format_bytes(MAX_BYTES, 1024))
    return Refused(400, "form")


def _name(filename: str | None, number: int) -> str:
    """A file's place below its delivery's folder: numbered, so that equal names may meet."""
    name = strip_invalid_filename_characters(Path(filename or "").name, NAME_BYTES)
    return f"{number}/{name.lstrip('.') or 'file'}"
