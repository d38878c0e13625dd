// A finger that moves over a chart scrolls the page, as everywhere else on it. Plotly would take the gesture, to zoom, and
// a phone's window is filled by one chart. A tap is left: the browser makes of it what a mouse would do there.
export default function () {
  function leave(event) {
    const chart = event.target.closest(".draglayer")?.closest(".js-plotly-plot")
    if (chart && chart.layout.dragmode !== "select") event.stopPropagation() // what is there to draw a box on keeps it
  }
  addEventListener("touchstart", leave, { capture: true, passive: true })
  return () => removeEventListener("touchstart", leave, { capture: true })
}
