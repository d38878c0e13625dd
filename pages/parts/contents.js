// The table of contents reads the headings that stand in the page, whenever they change.
const WIDE = 1300 // pixels of the page from which a column fits beside it
const NARROW = 768 // pixels of the page below which it leaves no margin
const LINE = 120 // pixels below the top at which a section counts as reached

export default function ({ parentElement }) {
  const nav = parentElement.querySelector("nav")
  const main = nav.closest('[data-testid="stMain"]')
  const page = main.querySelector('[data-testid="stMainBlockContainer"]')
  let headings = [], drawn = "", waiting = 0
  // where a link led: it stays in place while the page above it is still growing, until its reader does something
  let held = decodeURIComponent(location.hash.slice(1))

  const text = heading => (heading.querySelector("[data-heading-text]") ?? heading).textContent.trim()
  const hold = () => document.getElementById(held)?.scrollIntoView({ block: "start" })

  function draw() {
    waiting = 0
    headings = [...page.querySelectorAll("h2[id], h3[id]")].filter(
      heading => heading.checkVisibility() && !heading.closest('[data-testid="stExpander"]'))
    const now = headings.map(heading => `${heading.tagName} ${heading.id} ${text(heading)}`).join("\n")
    if (now !== drawn) {
      drawn = now
      nav.replaceChildren(...headings.map(heading => {
        const link = document.createElement("a")
        link.href = `#${heading.id}`
        link.dataset.level = heading.tagName[1]
        link.textContent = text(heading)
        return link
      }))
    }
    nav.hidden = headings.length < 2
    nav.classList.toggle("column", main.clientWidth >= WIDE)
    nav.classList.toggle("narrow", main.clientWidth < NARROW)
    nav.classList.remove("whole-only") // parts of sections where there is room for them
    const bar = !nav.classList.contains("column")
    nav.classList.toggle("whole-only", bar && nav.scrollWidth > nav.clientWidth)
    nav.classList.toggle("scrolls", bar && nav.scrollWidth > nav.clientWidth)
    if (held) hold()
    mark()
  }

  function mark() {
    const links = [...nav.children], top = main.getBoundingClientRect().top + LINE
    const ended = main.scrollTop + main.clientHeight >= main.scrollHeight - 2 && main.scrollTop > 0
    let current = headings.findLastIndex(heading => heading.getBoundingClientRect().top <= top)
    if (ended) current = headings.length - 1
    if (held) current = headings.findIndex(heading => heading.id === held)
    while (current > 0 && nav.classList.contains("whole-only") && links[current].dataset.level === "3") current--
    links.forEach((link, index) => {
      if (index !== current) {
        link.removeAttribute("aria-current")
      } else if (!link.hasAttribute("aria-current")) {
        link.setAttribute("aria-current", "location")
        if (nav.classList.contains("column")) {
          nav.scrollTop = link.offsetTop - nav.clientHeight / 2
        } else {
          nav.scrollLeft = link.offsetLeft - (nav.clientWidth - link.offsetWidth) / 2
        }
      }
    })
  }

  const later = () => { waiting ||= requestAnimationFrame(draw) }
  const release = () => { held = "" }

  function follow(event) {
    const link = event.target.closest("a")
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return
    event.preventDefault()
    // the address alone: Streamlit takes an entry in the history for another page
    history.replaceState(history.state, "", link.hash)
    held = decodeURIComponent(link.hash.slice(1))
    const heading = document.getElementById(held)
    heading.tabIndex = -1 // the next Tab goes on from there
    heading.focus({ preventScroll: true })
    hold()
    mark()
  }

  const changes = new MutationObserver(later), sizes = new ResizeObserver(later)
  changes.observe(page, { childList: true, subtree: true, characterData: true })
  sizes.observe(page)
  sizes.observe(main)
  sizes.observe(page.firstElementChild)
  nav.addEventListener("click", follow)
  main.addEventListener("scroll", mark, { passive: true })
  const events = ["wheel", "touchmove", "pointerdown", "keydown"]
  events.forEach(name => addEventListener(name, release, { capture: true, passive: true }))
  draw()
  return () => {
    changes.disconnect()
    sizes.disconnect()
    cancelAnimationFrame(waiting)
    nav.removeEventListener("click", follow)
    main.removeEventListener("scroll", mark)
    events.forEach(name => removeEventListener(name, release, { capture: true }))
  }
}
