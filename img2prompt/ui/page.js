// What the page does without asking the server: its address, large type, the language link.
(() => {
  const query = () => new URLSearchParams(window.location.search);
  const arrival = query(); // the first tab selects itself and would write over it
  const write = (params) => {
    const text = params.toString();
    const address = window.location.pathname + (text ? "?" + text : "") + window.location.hash;
    window.history.replaceState(window.history.state, "", address);
    document.querySelectorAll("a[data-language]").forEach((link) => {
      link.href = link.dataset.language + (text ? "?" + text : "");
    });
  };
  // A state that is the usual one stays out of the address, so that links stay short.
  const remember = (name, value, usual) => {
    const params = query();
    if (value === null || value === undefined || value === "" || String(value) === String(usual)) {
      params.delete(name);
    } else {
      params.set(name, value);
    }
    write(params);
  };
  const present = (on) => {
    document.body.classList.toggle("present", on);
    document.querySelectorAll("[data-present]").forEach((button) => {
      button.setAttribute("aria-pressed", on ? "true" : "false");
    });
    remember("present", on ? "1" : "", "");
    window.dispatchEvent(new Event("resize"));
  };
  // On a narrow window gradio folds the last tabs into a menu, where they have a name and no id.
  const folded = (name) => {
    const tab = window.gradio_config?.components.find((one) => one.props.elem_id === `tab-${name}`);
    return [...document.querySelectorAll("#tabs .overflow-dropdown button")].find(
      (button) => button.textContent.trim() === tab?.props.label,
    );
  };
  // Gradio's tabs select the first one while they are built, so the address has its say after them.
  const arrive = (tries = 50) => {
    const name = arrival.get("tab");
    if (!/^[a-z]+$/.test(name ?? "")) return;
    const button = document.getElementById(`tab-${name}-button`) ?? folded(name);
    if (button) button.click();
    const done = button?.getAttribute("aria-selected") === "true";
    if (!done && tries > 0) setTimeout(() => arrive(tries - 1), 100);
  };
  const save = (name, type, content) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([content], { type }));
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  };
  window.img2prompt = { remember, present, arrive, query };
  document.addEventListener("click", (event) => {
    const button = event.target.closest?.("[data-present]");
    if (button) present(!document.body.classList.contains("present"));
    const file = event.target.closest?.("[data-save]");
    if (file) save(file.dataset.save, file.dataset.type, file.dataset.content);
  });
})();
