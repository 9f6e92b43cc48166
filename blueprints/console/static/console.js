"use strict";
// What htmx does not do: choose days and times by dragging, hold back what lacks a word, hear what was chosen early, look again at a job or a stream, say a new count, and local times.
(() => {
  const root = document.documentElement;
  root.classList.add("scripted");

  // A reader of British English reads an American date wrongly.
  const written = navigator.languages.find(one => one.startsWith(root.lang)) || root.lang;
  const write = part => {
    for (const one of part.querySelectorAll("time[data-local]")) {
      const at = new Date(one.dateTime);
      one.textContent = `${at.toLocaleString(written, { dateStyle: "medium", timeStyle: "medium" })} (${one.textContent.trim()})`;
      one.removeAttribute("data-local");
    }
    // Where the service may not name its host, the browser knows it.
    for (const one of part.querySelectorAll("[data-origin]")) {
      one.textContent = one.textContent.replace(/(^|["' ])(?=\/[a-z])/, `$1${location.origin}`);
    }
  };
  write(document);

  // What cannot be undone waits until what it asks for is typed. A browser may fill a form again after the page was built.
  const arm = () => {
    for (const one of document.querySelectorAll("form:has(input[required]) .button.bad")) one.disabled = one.form.matches(":invalid");
  };
  for (const event of ["input", "pageshow", "htmx:afterSwap"]) addEventListener(event, arm);
  arm();

  // What was chosen before htmx listened, or what a browser fills in again, was not heard.
  const usual = one => [...one.options].find(option => option.defaultSelected) || one.options[0];
  const isChanged = one => {
    if (one.options) return !usual(one).selected;
    return one.checked !== one.defaultChecked || one.value !== one.defaultValue;
  };
  addEventListener("pageshow", () => {
    const one = [...document.querySelectorAll("#choose :is(input, select), textarea[hx-post]")].find(isChanged);
    for (const event of one ? ["input", "change"] : []) one.dispatchEvent(new Event(event, { bubbles: true }));
  });

  const scrolled = new Map();
  document.addEventListener("htmx:beforeSwap", () => {
    for (const one of document.querySelectorAll(".options")) scrolled.set(one.id, one.scrollTop);
  });
  document.addEventListener("htmx:afterSwap", event => {
    write(document);
    for (const one of document.querySelectorAll(".options")) one.scrollTop = scrolled.get(one.id) || 0;
    const [count, said] = [document.getElementById("count"), document.getElementById("said")];
    if (event.detail.target.id === "data" && count && said) said.textContent = count.textContent;
    for (const one of document.querySelectorAll("[data-most]")) {
      while (one.children.length > one.dataset.most) one.lastElementChild.remove();
    }
  });

  // A year that is being typed goes through years such as 0002.
  document.addEventListener("change", event => {
    if (event.target.type === "date" && event.target.value && event.target.value < "1000") event.stopPropagation();
  }, true);

  // A fault is a page of its own.
  document.addEventListener("htmx:responseError", event => {
    if (event.detail.target.id === "data") location.assign(event.detail.pathInfo.finalRequestPath);
    // A job that may not be looked at any more has a page that says so. A service that restarts is asked again.
    if (event.detail.target.id === "job" && event.detail.xhr.status < 500) location.reload();
    // Who follows keeps what has come.
    if (event.detail.target.id === "follow") {
      event.detail.target.removeAttribute("data-look-every");
      for (const one of event.detail.target.querySelectorAll("[data-ended]")) one.hidden = !one.hidden;
    }
    // Who types keeps what was typed.
    if (event.detail.target.dataset.failed) event.detail.target.textContent = event.detail.target.dataset.failed;
  });

  const looked = new Map();
  setInterval(() => {
    const one = document.querySelector("[data-look-every]");
    if (one && !document.hidden && Date.now() - (looked.get(one.id) || 0) >= 1000 * one.dataset.lookEvery) {
      looked.set(one.id, Date.now());
      htmx.trigger(one, "look");
    }
  }, 500);

  // Over days, each is a unit; over a history, each two-hundredth of the time.
  let drag = null;
  const unit = event => {
    const box = drag.plot.getBoundingClientRect();
    return Math.min(drag.count - 1, Math.max(0, Math.floor((drag.count * (event.clientX - box.left)) / box.width)));
  };
  const ends = event => [drag.from, unit(event)].sort((a, b) => a - b);
  document.addEventListener("pointerdown", event => {
    const plot = event.target.closest(".brush .marks, .zoom .marks");
    if (!plot || event.button !== 0) return;
    const days = plot.dataset.days?.split(" ");
    drag = { plot, days, count: days ? days.length : 200, view: plot.viewBox.baseVal };
    drag.from = unit(event);
    drag.mark = plot.appendChild(document.createElementNS("http://www.w3.org/2000/svg", "rect"));
    drag.mark.setAttribute("class", "dragged");
    drag.mark.setAttribute("height", drag.view.height);
    event.preventDefault();
  });
  document.addEventListener("pointermove", event => {
    if (!drag) return;
    const [first, last] = ends(event);
    const width = drag.view.width / drag.count;
    drag.mark.setAttribute("x", first * width);
    drag.mark.setAttribute("width", (last - first + 1) * width);
  });
  const leave = () => {
    if (drag) drag.mark.remove();
    drag = null;
  };
  const zoom = (first, last) => {
    const { from, to, page } = drag.plot.dataset;
    const { count } = drag;
    const time = place => (+from + (place * (to - from)) / count) / 60;
    const minute = (at, round) => new Date(60000 * round(at)).toISOString().replace(":00.000Z", "Z");
    leave();
    if (last - first < 2) return;
    const url = new URL(page, location.href);
    for (const name of ["days", "until"]) url.searchParams.delete(name);
    url.searchParams.set("from", minute(time(first), Math.floor));
    url.searchParams.set("to", minute(time(last + 1), Math.ceil));
    location.assign(url);
  };
  document.addEventListener("pointercancel", leave);
  document.addEventListener("pointerup", event => {
    if (!drag) return;
    const [first, last] = ends(event);
    if (!drag.days) return zoom(first, last);
    const after = drag.days[last + 1];
    const end = after ? new Date(Date.parse(after) - 86400000).toISOString().slice(0, 10) : drag.plot.dataset.last;
    const form = document.getElementById("choose");
    form.elements.date_from.value = drag.days[first];
    form.elements.date_to.value = end;
    leave();
    form.dispatchEvent(new Event("change", { bubbles: true }));
  });
})();
