// Runs in the head, before anything is drawn: the theme that was chosen here last, else the system's.
(function () {
  const KEY = "netloom-theme", NEXT = { system: "light", light: "dark", dark: "system" };
  const root = document.documentElement;
  const stored = () => {
    try {
      return localStorage.getItem(KEY);
    } catch (error) {
      return null; // storage is switched off: a choice lasts as long as the page
    }
  };
  const show = (theme) => {
    if (theme === "light" || theme === "dark") root.dataset.theme = theme;
    else delete root.dataset.theme;
  };
  show(stored());
  window.addEventListener("storage", (event) => event.key === KEY && show(event.newValue));
  document.addEventListener("click", (event) => {
    if (!event.target.closest("#theme")) return;
    const theme = NEXT[root.dataset.theme || "system"];
    show(theme);
    try {
      localStorage.setItem(KEY, theme);
    } catch (error) {
      console.info("the theme is not kept: storage is switched off");
    }
  });
})();
