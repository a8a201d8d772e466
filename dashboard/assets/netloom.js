// Grid helpers: a link in a cell, keys, and reloading the rows when the store has changed.
var dagcomponentfuncs = (window.dashAgGridComponentFunctions =
  window.dashAgGridComponentFunctions || {});

dagcomponentfuncs.ExperimentLink = function (props) {
  if (!props.data) return null;
  const href = "/exp/" + encodeURIComponent(props.data.id);
  const follow = (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
    event.preventDefault();
    window.history.pushState({}, "", href);
    window.dispatchEvent(new CustomEvent("_dashprivate_pushstate"));
    window.scrollTo(0, 0);
  };
  return React.createElement("a", { href: href, onClick: follow }, props.value);
};

// Seconds as words.py writes them.
var dagfuncs = (window.dashAgGridFunctions = window.dashAgGridFunctions || {});

dagfuncs.duration = function (seconds) {
  if (seconds == null) return "\u2013";
  const short = (value) => String(Number(value.toPrecision(3)));
  if (seconds < 1) return short(seconds * 1000) + " ms";
  if (seconds < 60) return short(seconds) + " s";
  const minutes = Math.floor(Math.round(seconds) / 60);
  if (minutes < 60) return `${minutes} min ${Math.round(seconds) % 60} s`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return `${hours} h ${minutes % 60} min`;
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
};

// Without a mouse: Enter on a cell follows the link of its row, or does what a click does.
document.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || !event.target.matches(".ag-cell")) return;
  const row = `.ag-row[row-index="${event.target.closest(".ag-row").getAttribute("row-index")}"]`;
  (event.target.closest(".grid").querySelector(`${row} a`) || event.target).click();
});

// A list to choose from opens with Space as with Enter: it would take it for a search, and close.
window.addEventListener("keyup", (event) => {
  if (event.key === " " && event.target.matches("button.dash-dropdown")) event.stopPropagation();
}, true);

// Whether a hand draws in the front: a drag, or two clicks that end a selection.
const drawn = { byHand: false, from: null, last: -Infinity, twice: false };
document.addEventListener("pointerdown", (event) => {
  if (!event.target.closest || !event.target.closest("#front-graph")) return;
  drawn.twice = event.timeStamp - drawn.last < 400;
  drawn.last = event.timeStamp;
  drawn.from = [event.clientX, event.clientY];
  drawn.byHand = true;
}, true);
document.addEventListener("pointerup", (event) => {
  if (!drawn.from) return;
  const [x, y] = drawn.from;
  const still = Math.hypot(event.clientX - x, event.clientY - y) < 4;
  if (still && !drawn.twice) drawn.byHand = false;
  drawn.from = null;
}, true);

let listed = null; // which filters the list of experiments has

let lastLive = null; // what the bar said of the store before

window.dash_clientside = window.dash_clientside || {};
window.dash_clientside.netloom = {
  // A tab is named after what its page shows.
  title: function () {
    requestAnimationFrame(() => {
      const head = document.querySelector("h1");
      document.title = head ? head.firstChild.textContent.trim() + " · netloom" : "netloom";
    });
    return window.dash_clientside.no_update;
  },
  // A page that could not be shown while the store was away is asked for again when it is back.
  back: function (state) {
    const again = lastLive === "live lost" && state === "live on";
    lastLive = state;
    if (again && document.querySelector("#page > [role=alert]")) window.location.reload();
    return window.dash_clientside.no_update;
  },
  // What was selected with box or lasso, in the units of the axes: region.py reads it.
  region: function (selected, figure) {
    // A figure that is drawn again reports its selection, too: only what a hand did is another one.
    if (!drawn.byHand) return dash_clientside.no_update;
    drawn.byHand = false;
    if (!selected || figure.data.some((trace) => trace.type === "scatter3d")) return "";
    const { range, lassoPoints } = selected, { x, y } = range || lassoPoints || { x: [], y: [] };
    const step = Math.max(1, Math.ceil(x.length / 48));
    const corners = x.map((each, place) => [each, y[place]]).filter((_, place) => place % step === 0);
    const short = (value) => String(Number(Number(value).toPrecision(6)));
    return corners.map((each) => each.map(short).join(",")).join(";");
  },
  // Other experiments fit: the list begins anew. Another order: it has asked already. Else what changed is asked for.
  reloadList: function (revision, { sort, ...filters }) {
    const known = listed;
    listed = JSON.stringify(filters);
    const moved = dash_clientside.callback_context.triggered.some((each) => each.prop_id.startsWith("list-choice"));
    if (moved && known === listed) return window.dash_clientside.no_update;
    dash_ag_grid.getApiAsync("experiments").then((api) =>
      moved ? api.purgeInfiniteCache() : api.refreshInfiniteCache()
    );
    return window.dash_clientside.no_update;
  },
  // What a row of the table opens is brought into sight; the row keeps the focus.
  showDetails: function (clicked) {
    const part = document.getElementById("details-part"), { top } = part.getBoundingClientRect();
    if (clicked && (top < 0 || top > 0.8 * window.innerHeight)) {
      const still = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
      part.scrollIntoView({ block: "start", behavior: still ? "instant" : "smooth" });
    }
    return window.dash_clientside.no_update;
  },
  reloadRows: function (drawn) {
    if (drawn) {
      dash_ag_grid.getApiAsync("trials").then((api) => api.refreshInfiniteCache());
    }
    return window.dash_clientside.no_update;
  },
};
