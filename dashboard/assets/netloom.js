// Grid helpers: a link in a cell, and reloading the visible rows when the store has changed.
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

window.dash_clientside = window.dash_clientside || {};
window.dash_clientside.netloom = {
  reloadRows: function (drawn) {
    if (drawn) {
      dash_ag_grid.getApiAsync("trials").then((api) => api.refreshInfiniteCache());
    }
    return window.dash_clientside.no_update;
  },
};
