// A click on a network in a figure of the front opens its row in the table. In a report of several
// experiments ids begin with the experiment's; points of the comparison carry it, too.
(() => {
  const open = (id) => {
    const row = document.getElementById(id);
    if (!row) return;
    document.querySelectorAll("tr.chosen").forEach((each) => each.classList.remove("chosen"));
    row.classList.add("chosen");
    row.querySelector("details").open = true;
    row.scrollIntoView({ block: "center", behavior: "smooth" });
  };
  const follow = (figure, name) => {
    if (figure.on) {
      figure.on("plotly_click", (event) => {
        const data = event.points[0].customdata;
        if (data !== undefined) open(name(data));
      });
    }
  };
  document.querySelectorAll("[id^='figure-'][id*='front']").forEach((figure) => {
    const [, prefix] = figure.id.match(/^figure-(e[0-9a-f]+-)?front/) || [];
    if (figure.id === "figure-compare-fronts") {
      follow(figure, ([id, number]) => `e${id}-trial-${number}`);
    } else {
      follow(figure, (number) => `${prefix || ""}trial-${number}`);
    }
  });

  // Paper: as wide as a part of the report on A4 or Letter, and lower, but for figures of many
  // panels. Afterwards as before.
  const WIDTH = 670, LOWER = 0.66;
  const figures = [...document.querySelectorAll(".js-plotly-plot")];
  const heights = figures.map((figure) => figure.layout.height);
  const resize = (size, part) =>
    figures.forEach((figure, place) => {
      const height = (figure.closest(".drawing") ? 1 : part) * heights[place];
      figure.style.height = `${height}px`;
      Plotly.relayout(figure, { ...size, height });
    });
  let folded = []; // tables that are a line until a click: on paper nobody can open them
  window.addEventListener("beforeprint", () => {
    folded = [...document.querySelectorAll("details.folded:not([open])")];
    folded.forEach((each) => { each.open = true; });
    resize({ autosize: false, width: WIDTH }, LOWER);
  });
  window.addEventListener("afterprint", () => {
    folded.forEach((each) => { each.open = false; });
    resize({ autosize: true, width: null }, 1);
  });
})();
