// Over plain http from another machine a browser gives neither clipboard nor camera. Copying then
// goes the old way, and the page doesn't offer what cannot work. Ctrl+V pastes a picture anywhere.
(() => {
  const boxes = () =>
    [...document.querySelectorAll("[role=tabpanel] input[type=file][accept*=image]")].filter(
      (input) => input.closest("[role=tabpanel]").offsetParent !== null,
    );
  document.addEventListener("paste", (event) => {
    const typing = event.target.closest?.("input, textarea, [contenteditable=true]");
    const files = [...(event.clipboardData?.files ?? [])].filter((file) =>
      file.type.startsWith("image/"),
    );
    if (typing || files.length === 0) return;
    const input = boxes().find((one) => one.closest(":hover")) ?? boxes()[0];
    if (!input) return;
    event.preventDefault();
    const carried = new DataTransfer();
    carried.items.add(files[0]);
    input.files = carried.files;
    input.dispatchEvent(new Event("change", { bubbles: true }));
  });

  if (window.isSecureContext) return;

  const copy = (text) => {
    const before = document.activeElement;
    const hidden = document.createElement("textarea");
    hidden.value = text;
    hidden.setAttribute("aria-hidden", "true");
    hidden.style.cssText = "position:fixed;top:0;left:-9999px";
    document.body.append(hidden);
    hidden.select();
    const copied = document.execCommand("copy");
    hidden.remove();
    before?.focus?.({ preventScroll: true });
    return copied ? Promise.resolve() : Promise.reject(new Error("not copied"));
  };
  // Gradio's copy buttons do nothing without it, and say nothing.
  if (!navigator.clipboard) {
    Object.defineProperty(navigator, "clipboard", { value: { writeText: copy } });
  }
  // This script runs before Gradio builds its components from these settings.
  const placeholders = window.img2promptPlaceholders ?? {};
  const touch = window.matchMedia("(pointer: coarse)").matches;
  const key = [/(Ctrl|Strg)\+V/, /Mac/.test(navigator.platform) ? "⌘V" : "$&"];
  for (const component of window.gradio_config?.components ?? []) {
    if (component.type !== "image" || !component.props.sources?.includes("clipboard")) continue;
    component.props.sources = ["upload"];
    const plain = placeholders[component.props.placeholder];
    if (plain) component.props.placeholder = touch ? plain.touch : plain.keys.replace(...key);
  }
})();
