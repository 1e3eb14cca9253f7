"use strict";
(() => {
  const base = {
    margin: { l: 60, r: 20, t: 20, b: 60 },
    paper_bgcolor: "#fff",
    plot_bgcolor: "#fff",
    font: { family: "system-ui, sans-serif", size: 13, color: "#1b1f23" },
    hoverlabel: { align: "left" },
  };
  const line = { gridcolor: "#e3e7eb", zerolinecolor: "#8c959f", linecolor: "#57606a", ticks: "outside" };
  // Only buttons that stay in the page: none that sends a chart anywhere.
  const buttons = [["toImage", "zoom2d", "pan2d", "resetScale2d"]];
  const config = { responsive: true, displaylogo: false, modeBarButtons: buttons };

  const laidOut = (layout) => {
    const whole = { ...base, ...structuredClone(layout) };
    for (const key of Object.keys(whole)) {
      if (/^[xy]axis\d*$/.test(key)) whole[key] = { ...line, ...whole[key] };
    }
    return whole;
  };

  const charts = [...document.querySelectorAll(".chart")].map((element) => {
    const id = element.id.replace(/-chart$/, "");
    return { id, element, views: JSON.parse(document.getElementById(id + "-data").textContent) };
  });

  const show = (chart, number) => {
    const view = chart.views[number];
    document.getElementById(chart.id + "-alt").textContent = view.alt;
    return Plotly.react(chart.element, view.traces, laidOut(view.layout), config);
  };

  for (const chart of charts) {
    show(chart, 0);
    const select = document.querySelector(`select[data-for="${chart.id}"]`);
    if (select) select.addEventListener("change", () => show(chart, Number(select.value)));
  }

  // On paper charts are as wide as the paper, not as the window.
  const fit = () => charts.forEach((chart) => Plotly.Plots.resize(chart.element));
  window.addEventListener("beforeprint", fit);
  window.addEventListener("afterprint", fit);

  const value = (row, column) => {
    const text = row.cells[column].textContent.trim();
    const number = parseFloat(text.replace(/,/g, ""));
    return Number.isNaN(number) || !/^[-+\d.]/.test(text) ? text : number;
  };
  const compare = (a, b) => {
    if (a === "NA" || b === "NA") return (a === "NA") - (b === "NA");
    if (typeof a === "number" && typeof b === "number") return a - b;
    return String(a).localeCompare(String(b), "en", { numeric: true });
  };
  for (const button of document.querySelectorAll("th button")) {
    button.addEventListener("click", () => {
      const head = button.closest("th");
      const body = button.closest("table").tBodies[0];
      const falling = head.getAttribute("aria-sort") === "ascending";
      for (const other of head.parentElement.cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", falling ? "descending" : "ascending");
      const rows = [...body.rows].map((row) => [value(row, head.cellIndex), row]);
      rows.sort(([a], [b]) => (a === "NA" || b === "NA" ? compare(a, b) : falling ? compare(b, a) : compare(a, b)));
      body.append(...rows.map(([, row]) => row));
    });
  }
})();
