"""The upload components: what a client names is an upload of this server's, or one sentence."""

import asyncio

import pytest
from gradio.data_classes import FileData

from img2prompt.core.errors import UserError
from img2prompt.ui.upload_boxes import Files, Picture

NULL = "a\0.png"
ADDRESSES = ["http://[::1/", "http://127.0.0.1/gradio_api/file=a%00.png", "https://[x]/a.png"]


@pytest.mark.parametrize("component", [Picture, Files])
@pytest.mark.parametrize("named", ADDRESSES)
def test_an_address_that_is_none_is_one_sentence(component: type, named: str) -> None:
    upload = component()
    with pytest.raises(UserError, match="takes no addresses of pictures"):
        asyncio.run(upload.async_move_resource_to_block_cache(named))


@pytest.mark.parametrize("named", [*ADDRESSES, NULL, "/etc/passwd"])
def test_a_name_that_is_none_is_one_sentence(named: str) -> None:
    upload = Files()
    payload = upload.data_model([FileData(path=named)])
    with pytest.raises(UserError, match="takes no addresses of pictures"):
        upload.preprocess(payload)
