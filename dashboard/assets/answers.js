// That the dashboard refuses a request, or answers none, is said above the page.
(function () {
  const LOST =
    "The dashboard does not answer: what is shown is from before. Start it again (netloom dashboard); this page then goes on.";
  const ask = window.fetch.bind(window), root = document.documentElement;
  let leaving = false;
  window.addEventListener("pagehide", () => (leaving = true));
  window.addEventListener("pageshow", () => (leaving = false));

  const say = (text, ...more) => {
    const place = document.getElementById("said") || document.createElement("div");
    place.id = "said";
    place.setAttribute("role", "alert");
    place.replaceChildren(text, ...more);
    document.body.prepend(place);
  };

  const refused = async (answer) => {
    const plain = (answer.headers.get("Content-Type") || "").startsWith("text/plain");
    const text = plain
      ? (await answer.clone().text()).trim()
      : `it failed (${answer.status}); where it was started stands why`;
    const again = document.createElement("button");
    again.className = "save";
    again.textContent = "Reload";
    again.addEventListener("click", () => window.location.reload());
    say(`The dashboard did not do this: ${text}.`, again);
  };

  window.fetch = async (...request) => {
    try {
      const answer = await ask(...request);
      if ("lost" in root.dataset) document.getElementById("said").remove();
      delete root.dataset.lost;
      if (!answer.ok) await refused(answer);
      return answer;
    } catch (error) {
      if (!leaving && error.name !== "AbortError") {
        root.dataset.lost = "";
        say(LOST);
      }
      throw error;
    }
  };
})();
