"use strict";
(() => {
  const find = (id) => document.getElementById(id);

  // The table: sort by a click on a heading, filter by words, class and verdict.
  const body = find("table").tBodies[0];
  const rows = [...body.rows];
  const heads = [...find("table").tHead.rows[0].cells];
  const value = (row, column) => {
    const cell = row.cells[column];
    return "v" in cell.dataset ? Number(cell.dataset.v.replace("inf", "Infinity")) : cell.textContent;
  };
  const compare = (a, b) => (typeof a === "number" ? a - b : a.localeCompare(b, undefined, { numeric: true }));
  const sort = (column, down) => {
    rows.sort((a, b) => (down ? -1 : 1) * compare(value(a, column), value(b, column)));
    body.append(...rows);
    heads.forEach((head, i) => head.setAttribute("aria-sort", i === column ? (down ? "descending" : "ascending") : "none"));
  };
  heads.forEach((head, column) =>
    head.firstElementChild.addEventListener("click", () => {
      const now = head.getAttribute("aria-sort");
      sort(column, now === "none" ? head.classList.contains("n") && column > 0 : now === "ascending");
    })
  );
  find("order").addEventListener("change", (event) => sort(Number(event.target.value), event.target.value !== "0"));
  const filter = () => {
    const words = find("search").value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      const fits =
        words.every((word) => text.includes(word)) &&
        (!find("class").value || row.dataset.class === find("class").value) &&
        (!find("suspects").checked || ["off", "wrong"].includes(row.dataset.verdict));
      row.hidden = !fits;
      row.style.display = fits ? "" : "none";
      count += fits;
    }
    find("count").value = count + (count === 1 ? " layer" : " layers");
  };
  ["search", "class", "suspects"].forEach((id) => find(id).addEventListener("input", filter));

  // The drawing: the view box is what one sees of it.
  const svg = find("graph");
  const [x, y, w, h] = svg.getAttribute("viewBox").split(" ").map(Number);
  const whole = { x, y, w, h };
  let view = { ...whole };
  const show = () => svg.setAttribute("viewBox", `${view.x} ${view.y} ${view.w} ${view.h}`);
  const frame = () => svg.getBoundingClientRect();
  const scale = () => Math.min(frame().width / view.w, frame().height / view.h);
  const zoom = (factor, px = 0.5, py = 0.5) => {
    const w = Math.min(Math.max(view.w * factor, 80), whole.w * 4);
    const real = w / view.w;
    view = { x: view.x + view.w * px * (1 - real), y: view.y + view.h * py * (1 - real), w, h: view.h * real };
    show();
  };
  const move = (dx, dy) => {
    view.x += dx / scale();
    view.y += dy / scale();
    show();
  };
  const all = () => {
    view = { ...whole };
    show();
  };
  // A large network is legible from where it begins; a small one is not blown up.
  const begin = () => {
    const { width, height } = frame();
    if (!width) return;
    const fit = Math.min(width / whole.w, height / whole.h);
    const at = fit < 0.55 ? 0.8 : Math.min(fit, 1.3);
    view = { x: whole.x, y: whole.y, w: width / at, h: height / at };
    if (view.w > whole.w) view.x -= (view.w - whole.w) / 2;
    if (view.h > whole.h && at === fit) view.y -= (view.h - whole.h) / 2;
    show();
  };
  const fingers = new Map();
  let moved = 0;
  svg.addEventListener("pointerdown", (event) => {
    fingers.set(event.pointerId, event);
    moved = 0;
  });
  svg.addEventListener("pointermove", (event) => {
    const last = fingers.get(event.pointerId);
    if (!last) return;
    const dx = event.clientX - last.clientX;
    const dy = event.clientY - last.clientY;
    moved += Math.abs(dx) + Math.abs(dy);
    if (moved > 4) svg.setPointerCapture(event.pointerId);
    if (fingers.size === 2) {
      const other = [...fingers.values()].find((finger) => finger.pointerId !== event.pointerId);
      const reach = (finger) => Math.hypot(finger.clientX - other.clientX, finger.clientY - other.clientY) || 1;
      const { left, top, width, height } = frame();
      zoom(reach(last) / reach(event), (other.clientX - left) / width, (other.clientY - top) / height);
    } else move(-dx, -dy);
    fingers.set(event.pointerId, event);
  });
  ["pointerup", "pointercancel"].forEach((kind) => svg.addEventListener(kind, (event) => fingers.delete(event.pointerId)));
  svg.addEventListener(
    "wheel",
    (event) => {
      // The page scrolls past the drawing; with Ctrl, or once the drawing has the focus, the wheel zooms.
      if (!event.ctrlKey && document.activeElement !== svg) return;
      event.preventDefault();
      const { left, top, width, height } = frame();
      zoom(Math.exp(event.deltaY * 0.0015), (event.clientX - left) / width, (event.clientY - top) / height);
    },
    { passive: false }
  );
  const keys = {
    ArrowLeft: () => move(-60, 0), ArrowRight: () => move(60, 0), ArrowUp: () => move(0, -60), ArrowDown: () => move(0, 60),
    "+": () => zoom(0.8), "=": () => zoom(0.8), "-": () => zoom(1.25), 0: all,
  };
  svg.addEventListener("keydown", (event) => {
    if (!(event.key in keys)) return;
    event.preventDefault();
    keys[event.key]();
  });
  find("closer").addEventListener("click", () => zoom(0.8));
  find("farther").addEventListener("click", () => zoom(1.25));
  find("whole").addEventListener("click", all);
  svg.addEventListener("click", (event) => {
    const box = event.target.closest("[data-row]");
    if (!box || moved > 4) return;
    rows.forEach((row) => row.classList.toggle("here", row.id === box.dataset.row));
    find(box.dataset.row).scrollIntoView({ block: "center" });
  });
  addEventListener("beforeprint", all);
  begin();
})();
