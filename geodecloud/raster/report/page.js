"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const view = byId("view"), split = byId("split"), strength = byId("strength");
  const picture = view.querySelector(".picture");
  const size = { width: picture.width, height: picture.height };
  const MOST = 16, STEP = Math.SQRT2, MOVE = 60;
  let x = 0, y = 0, scale = 1, fitted = true;

  const set = (name, value) => view.style.setProperty(name, value);
  const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
  const fitting = () => Math.min(view.clientWidth / size.width, view.clientHeight / size.height);

  // Keep the picture in the view: centred where it is smaller, without a gap where it is larger.
  const within = (at, length, room) =>
    length <= room ? (room - length) / 2 : clamp(at, room - length, 0);

  function draw() {
    x = within(x, size.width * scale, view.clientWidth);
    y = within(y, size.height * scale, view.clientHeight);
    set("--x", `${x}px`);
    set("--y", `${y}px`);
    set("--scale", scale);
    view.classList.toggle("large", scale > 1);
    byId("zoom").textContent = `${Math.round(scale * 100)} %`;
  }

  function zoom(to, atX = view.clientWidth / 2, atY = view.clientHeight / 2) {
    const next = clamp(to, Math.min(fitting(), 1), Math.max(fitting(), MOST));
    x = atX - (atX - x) * (next / scale);
    y = atY - (atY - y) * (next / scale);
    scale = next;
    fitted = false;
    draw();
  }

  function fit() {
    scale = fitting();
    fitted = true;
    draw();
  }

  function move(right, down) {
    x += right;
    y += down;
    draw();
  }

  function divide() {
    set("--split", `${split.value}%`);
    split.setAttribute("aria-valuetext", `${split.value} % before, ${100 - split.value} % after`);
  }
  const fade = () => set("--strength", strength.value / 100);

  const keys = {
    ArrowLeft: () => move(MOVE, 0),
    ArrowRight: () => move(-MOVE, 0),
    ArrowUp: () => move(0, MOVE),
    ArrowDown: () => move(0, -MOVE),
    "+": () => zoom(scale * STEP),
    "=": () => zoom(scale * STEP),
    "-": () => zoom(scale / STEP),
    0: fit,
    1: () => zoom(1),
  };
  view.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !(event.key in keys)) return;
    event.preventDefault();
    keys[event.key]();
  });

  view.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    const dividing = event.target.id === "divider";
    view.setPointerCapture(event.pointerId);
    view.classList.toggle("moving", !dividing);
    let { clientX, clientY } = event;
    const follow = (next) => {
      if (dividing) {
        const { left, width } = view.getBoundingClientRect();
        split.value = (100 * (next.clientX - left)) / width;
        divide();
      } else {
        move(next.clientX - clientX, next.clientY - clientY);
      }
      ({ clientX, clientY } = next);
    };
    const release = () => {
      view.classList.remove("moving");
      view.removeEventListener("pointermove", follow);
    };
    view.addEventListener("pointermove", follow);
    view.addEventListener("pointerup", release, { once: true });
    view.addEventListener("pointercancel", release, { once: true });
  });
  view.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    const { left, top } = view.getBoundingClientRect();
    zoom(scale * STEP ** (event.deltaY < 0 ? 1 : -1), event.clientX - left, event.clientY - top);
  }, { passive: false });

  split.addEventListener("input", divide);
  strength.addEventListener("input", fade);
  byId("larger").addEventListener("click", () => zoom(scale * STEP));
  byId("smaller").addEventListener("click", () => zoom(scale / STEP));
  byId("fit").addEventListener("click", fit);
  byId("pixels").addEventListener("click", () => zoom(1));
  for (const box of document.querySelectorAll("[data-layer]")) {
    const show = () => { byId(box.dataset.layer).hidden = !box.checked; };
    box.addEventListener("change", show);
    show(); // a browser may bring back a tick of an earlier visit
  }
  new ResizeObserver(() => (fitted ? fit() : draw())).observe(view);
  divide();
  fade();
  fit();
})();
