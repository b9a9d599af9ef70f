"use strict";
(function () {
  const box = document.getElementById("samples");
  if (!box) return;
  const filters = Array.from(box.querySelectorAll("select[data-filter]"));
  const cards = Array.from(box.querySelectorAll("article.sample"));
  const count = document.getElementById("sample-count");
  function update() {
    let shown = 0;
    for (const card of cards) {
      const fits = filters.every(
        (filter) => filter.value === "" || card.getAttribute("data-" + filter.dataset.filter) === filter.value
      );
      card.hidden = !fits;
      if (fits) shown += 1;
    }
    count.textContent = shown + " of " + cards.length + " shown";
  }
  for (const filter of filters) filter.addEventListener("change", update);
  document.getElementById("sample-filters").hidden = false;
  update();
})();
