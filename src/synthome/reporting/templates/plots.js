// Draw each interactive figure from the JSON that stands in the page. Nothing is loaded, and
// without this script the page says that the map needs it.
"use strict";
for (const place of document.querySelectorAll("div.plot")) {
  const plot = JSON.parse(document.getElementById(place.dataset.plot).textContent);
  place.textContent = "";
  Plotly.newPlot(place, plot.data, plot.layout, {
    responsive: true,
    displaylogo: false,
    scrollZoom: true,
    plotlyServerURL: "",
    modeBarButtons: [["zoom2d", "pan2d", "zoomIn2d", "zoomOut2d", "resetScale2d"]],
  });
}
