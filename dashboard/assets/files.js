// Buttons that save what they stand under: a figure as PNG, SVG or a page of its own, a table as CSV.
(function () {
  const save = (blob, name) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  };

  // A file has no page around it whose colours it could take: black on white.
  const paper = (figure) => {
    const { data, layout } = JSON.parse(
      JSON.stringify({ data: figure.data, layout: figure.layout }, (_, value) =>
        ArrayBuffer.isView(value) ? Array.from(value) : value
      )
    );
    return { data, layout: { ...layout, paper_bgcolor: "#fff", plot_bgcolor: "#fff", autosize: true } };
  };

  const picture = async (figure, kind, name) => {
    const { width, height } = figure._fullLayout;
    const options = { format: kind, width, height, scale: kind === "png" ? 2 : 1 };
    const address = await window.Plotly.toImage(paper(figure), options);
    const [head, body] = [address.slice(5, address.indexOf(",")), address.slice(address.indexOf(",") + 1)];
    const bytes = head.endsWith(";base64")
      ? Uint8Array.from(atob(body), (sign) => sign.charCodeAt(0))
      : decodeURIComponent(body);
    save(new Blob([bytes], { type: head.split(/[;,]/)[0] }), `${name}.${kind}`);
  };

  // The drawing of a network is an image already.
  const drawing = (image, kind, name) => {
    if (kind === "svg") {
      const bytes = Uint8Array.from(atob(image.src.split(",")[1]), (sign) => sign.charCodeAt(0));
      return save(new Blob([bytes], { type: "image/svg+xml" }), `${name}.svg`);
    }
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [2 * image.naturalWidth, 2 * image.naturalHeight];
    canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
    canvas.toBlob((blob) => save(blob, `${name}.png`));
  };

  const safe = (text) => text.replace(/[&<>"]/g, (sign) => `&#${sign.charCodeAt(0)};`);

  const page = async (figure, name, title) => {
    const script = await (await fetch("/download/plotly.js")).text();
    const drawn = JSON.stringify(paper(figure)).replace(/</g, "\\u003c");
    const policy = "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; img-src data: blob:; worker-src blob:";
    const html = [
      '<!doctype html><html lang="en"><head><meta charset="utf-8">',
      `<meta http-equiv="Content-Security-Policy" content="${policy}">`,
      '<meta name="viewport" content="width=device-width, initial-scale=1">',
      `<title>${safe(title)}</title><script>${script}</` + "script></head>",
      '<body style="margin:0;background:#fff"><div id="figure"></div><script>',
      `const drawn = ${drawn};`,
      'Plotly.newPlot("figure", drawn.data, drawn.layout, {responsive: true, displaylogo: false,',
      'showSendToCloud: false, plotlyServerURL: ""});</' + "script></body></html>",
    ];
    save(new Blob(html, { type: "text/html" }), `${name}.html`);
  };

  // As downloads.py guards its files: a text must not be run by a spreadsheet. A number below zero is none,
  // nor with its unit; with what calls a function or names another file it is.
  const number = /^-\.?\d/, calls = /[=|!&]|[\w.]\s*\(/;
  const cell = (text) => {
    const run = /^[=+\-@\t\r]/.test(text) && (!number.test(text) || calls.test(text));
    const plain = run ? `'${text}` : text;
    return /[",\n\r]/.test(plain) ? `"${plain.replace(/"/g, '""')}"` : plain;
  };

  const texts = (saved) => {
    const grid = saved.querySelector(".grid"); // parts.py makes one of a long table
    if (!grid) return [...saved.querySelector("table").rows].map((row) => [...row.cells].map((each) => each.textContent));
    const api = window.dash_ag_grid.getApi(grid.id), columns = api.getColumnDefs();
    const found = [columns.map((each) => each.headerName)];
    api.forEachNode((node) => found.push(columns.map((each) => node.data[each.field])));
    return found;
  };

  // A table is named after its page and the heads above it.
  const named = (saved) => {
    const part = saved.closest("section"), heads = [document.querySelector("h1")];
    for (const kind of ["h2", "h3"]) {
      const above = [...part.querySelectorAll(kind)].filter(
        (head) => head.compareDocumentPosition(saved) & Node.DOCUMENT_POSITION_FOLLOWING
      );
      heads.push(above.at(-1));
    }
    const words = heads.map((head) => (head ? head.firstChild.textContent : "")).join(" ");
    return words.toLowerCase().replace(/[^\p{L}\p{N}_.@]+/gu, "-").replace(/^[-.]+|[-.]+$/g, "") || "table";
  };

  const table = (saved) => {
    const rows = texts(saved).map((row) => row.map((each) => cell(each.trim())).join(","));
    save(new Blob([rows.join("\r\n"), "\r\n"], { type: "text/csv" }), `${named(saved)}.csv`);
  };

  document.addEventListener("click", async (event) => {
    const button = event.target.closest("button[data-save]");
    if (!button) return;
    const kind = button.dataset.save;
    if (kind === "csv") return table(button.closest(".saved"));
    const place = button.closest("[role=figure]");
    const name = button.dataset.name;
    const image = place.querySelector(".picture img");
    if (image) return drawing(image, kind, name);
    const figure = place.querySelector(".js-plotly-plot");
    await (kind === "html" ? page(figure, name, button.dataset.title) : picture(figure, kind, name));
  });
})();
