// A click on a network in the front's figure opens its row in the table.
(() => {
  const figure = document.getElementById("figure-front");
  if (!figure || !figure.on) return;
  figure.on("plotly_click", (event) => {
    const row = document.getElementById(`trial-${event.points[0].customdata}`);
    if (!row) return;
    document.querySelectorAll("tr.chosen").forEach((each) => each.classList.remove("chosen"));
    row.classList.add("chosen");
    row.querySelector("details").open = true;
    row.scrollIntoView({ block: "center", behavior: "smooth" });
  });
})();
