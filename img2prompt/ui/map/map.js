// The Map tab: what lies upon the vocabulary's figure comes in parts (see figures.py), each in
// the HTML that tells of it, and is drawn over the figure here, so that 20,000 points travel once.
(() => {
  const parts = {}; // name → part, or null
  let pick = () => {};
  let wanted = null; // a view that waits for its figure
  let views = 0;
  const plot = () => document.querySelector("#map-plot .js-plotly-plot");

  const ranged = (layout, ranges) => {
    const axes = { x: "xaxis", y: "yaxis", z: "zaxis" };
    const home = ranges.length === 3 ? layout.scene : layout;
    ["x", "y", "z"].slice(0, ranges.length).forEach((name, at) => {
      home[axes[name]] = { ...home[axes[name]], range: ranges[at], autorange: false };
    });
    layout.uirevision = `view ${++views}`; // or plotly would keep the visitor's own view
  };

  const draw = () => {
    const div = plot();
    const meta = div?.layout?.meta;
    if (!meta?.labels || !window.Plotly) return;
    const shown = Object.values(parts).filter((part) => part?.dimensions === meta.dimensions);
    const layout = { ...div.layout };
    const hidden = new Set(shown.flatMap((part) => part.hides));
    const themes = meta.labels.filter((label) => !hidden.has(label.text));
    const labels = [...themes, ...shown.flatMap((part) => part.labels)];
    if (meta.dimensions === 3) layout.scene = { ...layout.scene, annotations: labels };
    else layout.annotations = labels;
    if (wanted && (wanted === "whole" || wanted.length === meta.dimensions)) {
      ranged(layout, wanted === "whole" ? meta.whole : wanted);
      wanted = null;
    }
    const own = div.data.slice(0, meta.traces);
    window.Plotly.react(div, [...own, ...shown.flatMap((part) => part.traces)], layout);
  };

  // Gradio draws the figure anew when another one comes, and then it is bare.
  const bare = (div) => {
    const meta = div.layout?.meta;
    return meta?.labels && div.data.length === meta.traces;
  };
  const attach = () => {
    const div = plot();
    if (!div?.on || div.dataset.attached) return;
    div.dataset.attached = "yes";
    div.on("plotly_click", (event) => {
      const word = event.points[0]?.text;
      if (typeof word === "string" && /^\S+$/.test(word)) pick({ word });
    });
    div.on("plotly_afterplot", () => {
      if (bare(div) && (wanted || Object.values(parts).some(Boolean))) setTimeout(draw, 0);
    });
    draw();
  };

  const part = (name, element) => {
    const text = element.querySelector("[data-part]")?.dataset.part;
    const next = text ? JSON.parse(text) : null;
    if (next?.view) wanted = next.view;
    else if (!next && parts[name]?.view) wanted = "whole";
    parts[name] = next;
    attach();
    draw();
  };

  const watch = (trigger) => {
    pick = (chosen) => trigger("click", chosen);
    const tab = document.getElementById("tab-map") ?? document.body;
    new MutationObserver(attach).observe(tab, { childList: true, subtree: true });
    attach();
  };
  document.addEventListener("click", (event) => {
    const word = event.target.closest?.("[data-map-word]");
    if (word) pick({ word: word.dataset.mapWord });
    const sum = event.target.closest?.("[data-map-sum]");
    if (sum) pick({ sum: sum.dataset.mapSum });
    if (event.target.closest?.("[data-map-whole]")) {
      wanted = "whole";
      draw();
    }
  });
  window.img2prompt.map = { part, watch };
})();
