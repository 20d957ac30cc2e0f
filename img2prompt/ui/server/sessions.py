"""What the server keeps of a visitor's session: only what its events were about.

For every session, and every call is one, Gradio describes each of the page's components anew: 20 ms
of the event loop, and memory for as long as the session is kept. It does so for links into a
session, which the page does not have (`gate` answers no such address).
"""

from types import SimpleNamespace

import gradio as gr
from gradio.state_holder import SessionState, StateHolder


class Sessions(StateHolder):
    """Gradio's sessions, that begin without a description of the page."""

    def __getitem__(self, session_id: str) -> SessionState:
        """The state of a session; a new one where there is none."""
        if session_id not in self.session_data:
            bare = SimpleNamespace(default_config=self.blocks.default_config, blocks={})
            self.session_data[session_id] = SessionState(bare)
        return super().__getitem__(session_id)


def keep_little(app: gr.Blocks) -> None:
    """Give a page that was launched, and has no sessions yet, sessions that are small."""
    app.app.state_holder = Sessions()
    app.app.state_holder.set_blocks(app)
