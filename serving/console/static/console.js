// Draws the plots, and pauses what refreshes itself. Everything else is htmx on pages that the server renders.
"use strict"
{
  let paused = false
  const pause = document.getElementById("pause")
  pause?.addEventListener("click", () => {
    paused = !paused
    pause.setAttribute("aria-pressed", String(paused))
    pause.textContent = paused ? "Go on" : "Pause"
  })
  const idle = () => paused || document.hidden
  document.body.addEventListener("htmx:beforeRequest", event => {
    if (event.detail.elt.id === "live" && idle()) event.preventDefault()
  })

  // Old figures must not pass for those of now.
  const away = document.getElementById("away")
  let heard = new Date()
  document.body.addEventListener("htmx:afterRequest", event => {
    if (!away || event.detail.elt.id !== "live") return
    if (event.detail.successful) heard = new Date()
    else away.querySelector("span").textContent = `${heard.toISOString().slice(11, 19)} UTC`
    away.hidden = event.detail.successful
  })

  // Who has scrolled a wide table sideways stays there when it is shown anew; htmx gives the focus back by the id.
  const scrolled = new Map()
  document.body.addEventListener("htmx:beforeSwap", () => document.querySelectorAll(".wide").forEach(
    wide => scrolled.set(wide.id, wide.scrollLeft)))
  document.body.addEventListener("htmx:afterSwap", () => document.querySelectorAll(".wide").forEach(
    wide => { wide.scrollLeft = scrolled.get(wide.id) ?? 0 }))

  const style = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim()
  const text = value => (value == null ? "-" : Number(value.toPrecision(4)).toLocaleString("en"))
  const drawn = new Map()

  const bound = line => line.name === "low" || line.name === "high"
  const colour = (line, i) => bound(line) ? 2 : (i % 4) + 1
  const options = (place, lines) => {
    const clock = (_, ticks) => ticks.map(tick => new Date(1000 * tick).toISOString().slice(11, 19))
    const axis = { size: 30, stroke: style("--pico-muted-color"), grid: { stroke: style("--pico-muted-border-color"), width: 1 }, ticks: { show: false } }
    return {
      width: place.clientWidth, height: place.clientHeight, legend: { show: false }, cursor: { drag: { x: false, y: false } },
      axes: [{ ...axis, space: 80, values: clock }, { ...axis, size: 60, values: (_, ticks) => ticks.map(text) }],
      series: [{}, ...lines.map((line, i) => ({
        label: line.name, stroke: style(`--line-${colour(line, i)}`), width: bound(line) ? 1 : 2,
        spanGaps: true, points: { show: false },
      }))],
    }
  }

  // What each line is and says, which is also what a screen reader has of a plot.
  const caption = lines => lines.flatMap((line, i) => {
    const known = line.values.filter(value => value != null)
    if (!known.length) return []
    const one = document.createElement("span"), swatch = document.createElement("span")
    swatch.className = `swatch line-${colour(line, i)}`
    one.append(swatch, `${line.name}: ${text(known.at(-1))} now, ${text(Math.min(...known))} to ${text(Math.max(...known))}. `)
    return [one]
  })

  const draw = (place, times, lines, anew) => {
    const words = caption(lines), figcaption = place.parentElement.querySelector("figcaption")
    if (!words.length) return
    figcaption.replaceChildren(...words)
    if (times.length < 2) return
    const data = [times, ...lines.map(line => line.values)]
    const before = drawn.get(place), names = lines.map(line => line.name).join()
    if (before && before.names === names && !anew) return before.plot.setData(data)
    before?.plot.destroy()
    drawn.set(place, { names, plot: new uPlot(options(place, lines), data, place) })
  }

  for (const group of document.querySelectorAll("[data-plots]")) {
    let last = null
    const show = anew => last && group.querySelectorAll("[data-plot]").forEach(
      place => draw(place, last.times, last.plots[place.dataset.plot] ?? [], anew))
    const load = async () => {
      if (idle() && last) return
      const answer = await fetch(group.dataset.plots).catch(() => null)
      if (!answer?.ok) return
      last = await answer.json()
      show(false)
    }
    load()
    setInterval(load, 1000 * group.dataset.every)
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => show(true))
    let width = group.clientWidth
    new ResizeObserver(() => { if (group.clientWidth !== width) { width = group.clientWidth; show(true) } }).observe(group)
  }
}
