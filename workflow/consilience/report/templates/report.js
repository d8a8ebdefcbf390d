(function () {
  "use strict";

  const RUN = window.RUN || { jobs: {} };
  const dash = "–";

  function element(tag, attributes, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes || {})) made.setAttribute(name, value);
    made.append(...children.filter((child) => child !== null));
    return made;
  }

  if (!window.RUN) {
    document.querySelector("[data-alone]").hidden = false;
    for (const link of document.querySelectorAll("header a:not([aria-current])")) link.removeAttribute("href");
  }

  // ---- what differs from run to run; a study's page knows of no other study, so that it is not written anew for one
  const navigation = document.querySelector("nav[data-current]");
  for (const name of Object.keys(RUN.jobs)) {
    const link = element("a", { href: `${name}.html` }, name.replaceAll("_", " "));
    if (name === navigation.dataset.current) link.setAttribute("aria-current", "page");
    navigation.insertBefore(link, navigation.lastElementChild);
  }
  const current = navigation.querySelector("[aria-current]");
  if (current) navigation.scrollLeft = current.offsetLeft - navigation.offsetLeft;
  for (const place of document.querySelectorAll("[data-others]")) {
    for (const name of RUN.others || []) {
      place.append(element("a", { href: `${name}.html` }, name.replaceAll("_", " ")), " ");
      place.hidden = false;
    }
  }
  for (const cell of document.querySelectorAll("[data-work]")) {
    const jobs = RUN.jobs[cell.dataset.work] || [];
    const minutes = jobs.reduce((sum, job) => sum + (job.seconds || 0), 0) / 60;
    cell.textContent = jobs.length ? minutes.toFixed(1) : dash;
    cell.dataset.value = jobs.length ? minutes : "";
  }
  for (const place of document.querySelectorAll("[data-commit]")) {
    if (RUN.commit) {
      const changed = RUN.changed ? ", with changes that are not committed" : "";
      place.textContent = (place.tagName === "SPAN" ? "Report written by commit " + RUN.commit.slice(0, 10) : RUN.commit) + changed + (place.tagName === "SPAN" ? "." : "");
    }
  }
  for (const table of document.querySelectorAll("table[data-jobs]")) {
    for (const [study, jobs] of Object.entries(RUN.jobs)) {
      for (const job of jobs) {
        const numbers = [job.seconds, job.cpu_seconds, job.megabytes].map((value, index) =>
          element("td", { class: "n", "data-value": value === null ? "" : value }, value === null ? dash : value.toFixed(index < 2 ? 1 : 0)));
        table.tBodies[0].append(element("tr", {}, element("td", {}, study), element("td", {}, job.job), ...numbers));
      }
    }
  }

  // ---- tables that sort: numbers as numbers, what is missing last, equal rows in their first order
  function key(row, column) {
    const cell = row.cells[column];
    const text = cell.dataset.value === undefined ? cell.textContent.trim() : cell.dataset.value;
    const number = Number.parseFloat(text.replace("−", "-").replaceAll(",", ""));
    return { text, number, missing: Number.isNaN(number) };
  }

  function sort(table, column, direction) {
    const numeric = table.tHead.rows[0].cells[column].classList.contains("n");
    const rows = [...table.tBodies[0].rows];
    rows.forEach((row, index) => { if (row.dataset.first === undefined) row.dataset.first = index; });
    const keyed = rows.map((row) => ({ row, key: key(row, column) }));
    keyed.sort((a, b) => {
      if (numeric && a.key.missing !== b.key.missing) return a.key.missing ? 1 : -1;
      const order = numeric ? (a.key.missing ? 0 : a.key.number - b.key.number) : a.key.text.localeCompare(b.key.text, "en", { numeric: true });
      return direction * order || a.row.dataset.first - b.row.dataset.first;
    });
    table.tBodies[0].append(...keyed.map(({ row }) => row));
  }

  for (const table of document.querySelectorAll("table.sortable")) {
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      const button = element("button", { type: "button", class: "sort" }, ...head.childNodes, element("span", { "aria-hidden": "true" }));
      head.append(button);
      const act = () => {
        const ascending = head.getAttribute("aria-sort") !== "ascending";
        for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", ascending ? "ascending" : "descending");
        sort(table, column, ascending ? 1 : -1);
      };
      button.addEventListener("click", act);
    });
  }

  // ---- filters of a table: every control keeps the rows whose column holds, or is, its value
  for (const filters of document.querySelectorAll(".filters")) {
    const rows = [...document.querySelector(`table[data-name="${filters.dataset.for}"]`).tBodies[0].rows];
    const controls = [...filters.querySelectorAll("[data-column]")];
    const apply = () => {
      let shown = 0;
      for (const row of rows) {
        row.hidden = !controls.every((control) => {
          const text = row.querySelector(`[data-column="${control.dataset.column}"]`).textContent;
          if (control.type === "checkbox") return !control.checked || text === control.value;
          if (control.type === "search") return text.toLowerCase().includes(control.value.trim().toLowerCase());
          return control.value === "" || text === control.value;
        });
        shown += row.hidden ? 0 : 1;
      }
      filters.querySelector("output").textContent = `${shown} of ${rows.length}`;
    };
    controls.forEach((control) => control.addEventListener("input", apply));
    apply();
  }

  // ---- cards
  const data = document.getElementById("drivers-data");
  if (data) {
    const cards = JSON.parse(data.textContent);
    const study = JSON.parse(document.getElementById("study-data").textContent);
    const words = (name) => name.replaceAll("_", " ");
    const side = (direction) => (direction === "positive" ? "+" : direction === "negative" ? "−" : "0");
    const number = (value) => (value === null ? "undefined" : String(value).replaceAll("-", "−"));

    const out = () => element("span", { class: "unseen" }, "not in ");

    const signed = (rank) => (rank === 0 ? "0" : (rank > 0 ? "+" : "−") + Math.abs(rank));
    const tone = (value) => (value > 0 ? "positive" : value < 0 ? "negative" : "none");

    // All methods of a model share its mean gradient's sign, which therefore stands once, beside the model.
    function ranks(card) {
      const models = Object.entries(card.models);
      const sides = models.map(([, found]) => found.find((rank) => rank !== 0) || 0);
      const head = element("tr", {}, element("td", {}), ...models.map(([model], index) =>
        element("th", { scope: "col", class: `n ${tone(sides[index])}` }, `${sides[index] > 0 ? "+" : sides[index] < 0 ? "−" : ""}${words(model)}`)));
      const body = study.methods.map((method, index) => element("tr", {}, element("th", { scope: "row" }, words(method)),
        ...models.map(([, found]) => element("td", { class: `n ${tone(found[index])}` }, found[index] === 0 ? dash : `${Math.abs(found[index])}`))));
      return element("div", { class: "ranks" }, element("table", {}, element("thead", {}, head), element("tbody", {}, ...body)));
    }

    function agreement(card) {
      const against = card.direction === "positive" ? card.total_negative : card.total_positive;
      return `${card[`total_${card.direction}`]} of ${study.voters.length} models${against ? `, ${against} against` : ""}`;
    }

    function build(card) {
      const lists = study.voters.map((model) => {
        const sign = card.lists[model] || 0;
        return element("span", { class: sign ? `chip ${tone(sign)}` : "chip out" }, sign ? null : out(), (sign > 0 ? "+" : sign < 0 ? "−" : "") + words(model));
      });
      const sets = Object.entries(card.sets).map(([name, held]) => element("span", { class: held ? "chip" : "chip out" }, held ? null : out(), words(name)));
      const targets = card.targets.map(([index, rank]) => element("span", { class: `chip ${tone(rank)}` }, `${study.targets[index]} ${signed(rank)}`));
      const further = study.targets.length - targets.length;
      if (targets.length && further) targets.push(`and ${further} weaker`);
      const rows = [
        ["attribution", number(card.average_attribution)],
        ["stability", `${number(card.stability_score)}, sign probability ${number(card.sign_probability)}`],
        ["linear", `${number(card.linear_coefficient)} per standard deviation, #${card.linear_rank}`],
        ["lists", lists], ["sets", sets],
      ];
      if (targets.length) rows.push(["targets", targets]);
      if (card.planted) rows.push(["planted", `${card.planted.sign > 0 ? "+" : card.planted.sign < 0 ? "−" : "no sign"} ${card.planted.effect}`]);
      return element("article", { class: `driver ${card.direction}-card` },
        element("h3", {}, element("span", { class: card.direction }, side(card.direction)), card.feature),
        element("p", { class: "of" }, `${study.targets.length > 1 ? card.target + ", " : ""}#${card.rank} of ${study.features}, ${agreement(card)}`),
        ranks(card),
        element("dl", {}, ...rows.flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, ...(Array.isArray(value) ? value : [value]))])));
    }

    const place = document.querySelector("[data-cards]");
    study.first.forEach((index) => place.append(build(cards[index])));
    const dialog = document.getElementById("card");
    for (const row of document.querySelectorAll("tr[data-card]")) {
      row.querySelector("button.open").addEventListener("click", () => {
        dialog.querySelector("div").replaceChildren(build(cards[row.dataset.card]));
        dialog.showModal();
      });
    }
    dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  }

  // ---- paper shows what is folded
  let folded = [];
  addEventListener("beforeprint", () => {
    folded = [...document.querySelectorAll("details:not([open])")];
    folded.forEach((one) => { one.open = true; });
  });
  addEventListener("afterprint", () => folded.forEach((one) => { one.open = false; }));

  // ---- where the reader is
  const links = new Map([...document.querySelectorAll(".contents a")].map((link) => [link.hash.slice(1), link]));
  const watcher = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (entry.isIntersecting) {
        links.forEach((link) => link.classList.remove("here"));
        links.get(entry.target.id).classList.add("here");
      }
    }
  }, { rootMargin: "-20% 0px -70% 0px" });
  for (const id of links.keys()) watcher.observe(document.getElementById(id));
})();
