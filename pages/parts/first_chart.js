// Asks for the whole page as soon as its first chart stands, until it comes.
const LATE = 10_000 // milliseconds after which it is asked for without one
const AGAIN = 1_000 // milliseconds between questions: one that is asked while there is no connection is lost

export default function ({ data: mark, setStateValue }) {
  const app = document.querySelector('[data-testid="stApp"]')
  let begun = 0, asked = 0

  function look() {
    if (!app.querySelector(`.st-key-${mark}`)) {
      begun = 0
      return
    }
    const now = performance.now()
    begun ||= now
    if (app.dataset.testScriptState !== "notRunning" || now - asked < AGAIN) return
    if (app.querySelector(".js-plotly-plot .main-svg") || now - begun > LATE) {
      asked = now
      setStateValue("stands", now)
    }
  }

  const changes = new MutationObserver(look), again = setInterval(look, AGAIN)
  changes.observe(app, { childList: true, subtree: true, attributeFilter: ["data-test-script-state"] })
  return () => {
    changes.disconnect()
    clearInterval(again)
  }
}
