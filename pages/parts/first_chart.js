// Asks for the whole page as soon as its first chart stands.
const LATE = 10_000 // milliseconds after which it is asked for without one

export default function ({ data: chart, setStateValue }) {
  const ask = () => {
    end()
    setStateValue("stands", true)
  }
  const look = () => {
    if (document.querySelector(`.st-key-${chart} .main-svg`)) ask()
  }
  const end = () => {
    changes.disconnect()
    clearTimeout(late)
  }
  const changes = new MutationObserver(look), late = setTimeout(ask, LATE)
  changes.observe(document.querySelector('[data-testid="stMain"]'), { childList: true, subtree: true })
  look()
  return end
}
