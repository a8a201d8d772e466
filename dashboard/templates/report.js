// A click on a network in a figure of the front opens its row in the table.
(() => {
  const open = (event) => {
    const row = document.getElementById(`trial-${event.points[0].customdata}`);
    if (!row) return;
    document.querySelectorAll("tr.chosen").forEach((each) => each.classList.remove("chosen"));
    row.classList.add("chosen");
    row.querySelector("details").open = true;
    row.scrollIntoView({ block: "center", behavior: "smooth" });
  };
  document.querySelectorAll("[id^='figure-front']").forEach((figure) => {
    if (figure.on) figure.on("plotly_click", open);
  });
})();
