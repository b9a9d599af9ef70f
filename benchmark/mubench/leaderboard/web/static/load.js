"use strict";
// Data files are scripts that call mubench.take, because pages opened from disk may not fetch.
const mubench = (() => {
  const taken = new Map();
  return {
    take(name, value) {
      taken.set(name, value);
    },
    load(path, name) {
      if (taken.has(name)) return Promise.resolve(taken.get(name));
      return new Promise((resolve, reject) => {
        const script = document.createElement("script");
        script.src = path.split("/").map(encodeURIComponent).join("/").replaceAll("%2E%2E", "..");
        script.onload = () =>
          taken.has(name) ? resolve(taken.get(name)) : reject(new Error(`${path} holds no ${name}`));
        script.onerror = () => reject(new Error(`${path} cannot be loaded`));
        document.head.append(script);
      });
    },
    /** An element with attributes (on* are listeners) and children; text is always text. */
    el(tag, attributes = {}, ...children) {
      const made = document.createElement(tag);
      for (const [name, value] of Object.entries(attributes)) {
        if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
        else if (value === true) made.setAttribute(name, "");
        else if (value !== false && value !== null && value !== undefined)
          made.setAttribute(name, value);
      }
      made.append(...children.filter((child) => child !== null && child !== undefined));
      return made;
    },
    /** Where a value and its interval lie between two ends, drawn; all in thousandths. */
    track([value, low, high], from, to, kind) {
      const place = (x) => `${(100 * Math.min(Math.max((x - from) / (to - from), 0), 1)).toFixed(1)}%`;
      const made = mubench.el("span", { class: `track ${kind}`, "aria-hidden": "true" });
      const band = mubench.el("i", { class: "band" });
      band.style.left = place(low ?? value);
      band.style.right = `calc(100% - ${place(high ?? value)})`;
      const dot = mubench.el("i", { class: "at" });
      dot.style.left = place(value);
      made.append(band, dot);
      return made;
    },
  };
})();

// The theme: the system's, or the one that was asked for; kept on this machine only.
{
  const kept = () => {
    try {
      return localStorage.getItem("theme");
    } catch {
      return null; // storage is switched off
    }
  };
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const show = () => {
    const theme = kept() ?? (dark.matches ? "dark" : "light");
    document.documentElement.dataset.theme = theme;
    document.querySelector("#theme")?.setAttribute("aria-pressed", String(theme === "dark"));
    document.dispatchEvent(new Event("themechange"));
  };
  document.documentElement.dataset.theme = kept() ?? (dark.matches ? "dark" : "light");
  dark.addEventListener("change", show);
  addEventListener("DOMContentLoaded", () => {
    show();
    document.querySelector("#theme").addEventListener("click", () => {
      const next = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
      try {
        localStorage.setItem("theme", next);
      } catch {
        document.documentElement.dataset.theme = next;
        return;
      }
      show();
    });
  });
}
