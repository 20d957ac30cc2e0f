"""Colours and fonts of the page: quiet surfaces, one accent, system fonts."""

import gradio as gr

# Names that every system has: a web font would be a request to somebody else's server.
_FONT = ["ui-sans-serif", "system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"]
_MONO = ["ui-monospace", "Menlo", "Consolas", "Liberation Mono", "monospace"]


def theme() -> gr.Theme:
    """Gradio's base theme in the page's colours and fonts."""
    return gr.themes.Base(
        primary_hue="indigo",
        secondary_hue="indigo",
        neutral_hue="slate",
        font=_FONT,
        font_mono=_MONO,
        text_size="lg",
        radius_size="lg",
    ).set(
        body_background_fill="*neutral_50",
        body_background_fill_dark="#0d1018",
        block_background_fill="#ffffff",
        block_background_fill_dark="#161a26",
        block_border_color_dark="#272d3d",
        block_label_text_size="*text_sm",
        block_title_text_weight="600",
        block_shadow="none",
        # Gradio's own greys, and its indigo behind white letters, are too pale to read (WCAG asks
        # for a contrast of 4.5).
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_dark="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        button_primary_background_fill_hover_dark="*primary_700",
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_300",
        block_info_text_color="*neutral_600",
        block_info_text_color_dark="*neutral_300",
        input_placeholder_color="*neutral_500",
        input_placeholder_color_dark="*neutral_400",
    )
